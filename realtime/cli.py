"""``sdxs-live``: the commands. Whatever is heavy to import is imported by the command that needs it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from realtime.eval_command import evaluate
from realtime.models_command import models_app
from realtime.one_line_errors import OneLineErrors
from realtime.options import (
    AsJson,
    Backend,
    Control,
    Controlnets,
    Device,
    Dtype,
    Loras,
    ServedModel,
    Size,
    Vae,
    Verify,
    parse_size,
)
from realtime.paint_commands import image, video
from realtime.train_command import train

console = Console()

app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Repaint live video with a one-step SDXS model and publish it over WebRTC.",
    epilog="Start with: sdxs-live serve --open",
)


@app.command()
def serve(
    model: ServedModel = "auto",
    control: Control = None,
    size: Size = None,
    dtype: Dtype = "auto",
    controlnet: Controlnets = None,
    lora: Loras = None,
    vae: Vae = None,
    source: Annotated[
        str | None, typer.Option(help="Also paint this as session 'live': a file, camera:0, test: or a URL.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any free one.")] = 8080,
    device: Device = "auto",
    backend: Backend = "auto",
    verify: Verify = False,
    token: Annotated[
        str | None, typer.Option(envvar="SDXS_TOKEN", help="What clients must show; made up off loopback.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames a second that each session is promised; 24 on a GPU and 8 on a CPU if left out."),
    ] = None,
    max_sessions: Annotated[int, typer.Option(help="No more sessions than these, however quick the model is.")] = 32,
    copy_stamp: Annotated[bool, typer.Option(help="Keep a measuring stamp unpainted.")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM) for HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Another site whose pages may use the API (repeatable).")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the studio in a browser.")] = False,
) -> None:
    """Serve the studio page, WebRTC in and out, and the control API."""
    import asyncio
    import logging

    from realtime import config as configuration
    from realtime.choose import check_names

    config = configuration.make(
        model=model,
        control=control,
        size=parse_size(size) if size else None,
        dtype=dtype,
        controlnets=tuple(controlnet or ()),
        loras=tuple(lora or ()),
        vae=vae,
        source=source,
        host=host,
        port=port,
        device=device,
        backend=backend,
        verify=verify,
        token=token,
        fps=fps,
        max_sessions=max_sessions,
        copy_stamp=copy_stamp,
        tls_cert=tls_cert,
        tls_key=tls_key,
        allow_origins=tuple(allow_origin or ()),
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    check_names(model, controlnets=config.controlnets, loras=config.loras, vae=vae)
    from realtime.serve import serve as run_server
    from realtime.terminal import TerminalAnnouncer

    announcer = TerminalAnnouncer(config, console, open_browser=open_browser)
    with contextlib.closing(announcer):
        clean = asyncio.run(run_server(config, announcer))
    _leave(clean)


app.command()(image)
app.command()(video)
app.command("train")(train)
app.command("eval")(evaluate)


@app.command()
def bench(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="model, loop, sessions, start, memory or e2e.")],
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write it to this file.")] = None,
    model: Annotated[
        str,
        typer.Option(
            help="As elsewhere, or random:LAYOUT for random weights; auto is the embedded model on a CPU, "
            "random:sdxs-512-dreamshaper on a CUDA GPU."
        ),
    ] = "auto",
    seconds: Annotated[float | None, typer.Option(min=1, help="How long to measure (not start, not memory).")] = None,
    painter: Annotated[str | None, typer.Option(help="sessions: simulated:4ms or simulated:3ms+1ms.")] = None,
    trace: Annotated[Path | None, typer.Option(help="loop: also write a Chrome trace of it to this file.")] = None,
    frames: Annotated[int | None, typer.Option(min=100, help="memory: how many to paint (10000).")] = None,
) -> None:
    """Measure: the model next to diffusers (model), what the loop costs (loop), how many people share a device
    (sessions), the start of the server (start), leaks (memory), or from camera to display in a browser (e2e)."""
    from realtime import bench as benchmarks

    options = {"seconds": seconds, "painter": painter, "trace": trace, "frames": frames}
    benchmarks.main(what, json_path, model=model, **options)


app.add_typer(models_app, name="models")


@app.command()
def doctor(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port you want to serve on.")] = 8080,
    as_json: AsJson = False,
) -> None:
    """Check this machine; each failure comes with its mend. Exit code 1 if something essential is missing."""
    from realtime import terminal
    from realtime.doctor import as_rows, examine

    findings = list(examine(port=port))
    if as_json:
        terminal.print_json(as_rows(findings))
    else:
        terminal.print_findings(console, findings)
    if any(finding.verdict == "missing" for finding in findings):
        raise typer.Exit(1)


def _leave(clean: bool) -> None:
    """A thread inside a native library (the model being loaded) would keep the interpreter from ending, or crash it."""
    if not clean:
        sys.stdout.flush()
        os._exit(0)


def main() -> None:
    """The entry point."""
    app()
