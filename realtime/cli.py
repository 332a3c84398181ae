"""``sdxs-live``: the commands. Whatever is heavy to import is imported by the command that needs it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from realtime.errors import BadInput, RealtimeError

console = Console()
errors = Console(stderr=True)


class _OneLineErrors(TyperGroup):
    """Turns our own exceptions into one line on stderr and an exit code: 2 for bad input, 1 for a failure."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            code = _exit_code(error)
            if code is None:
                raise
            errors.print(f"sdxs-live: {error}", soft_wrap=True, highlight=False, markup=False)
            raise typer.Exit(code) from None


def _exit_code(error: Exception) -> int | None:
    if isinstance(error, RealtimeError):
        return error.exit_code
    # Whoever raised one of these has imported its module, which is too heavy to import only to ask.
    if (pipelines := sys.modules.get("pipelines.errors")) and isinstance(error, pipelines.PipelineError):
        return 1 if isinstance(error, pipelines.CheckpointError) else 2
    if (streaming := sys.modules.get("streaming.errors")) and isinstance(error, streaming.StreamingError):
        return 1 if error.status >= 500 else 2
    return None


app = typer.Typer(
    cls=_OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Repaint live video with a one-step SDXS model and publish it over WebRTC.",
    epilog="Start with: sdxs-live serve --open",
)

Model = Annotated[str, typer.Option(help="A model's name (see 'models') or a directory in the diffusers layout.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Backend = Annotated[str, typer.Option(help="auto, eager or openvino.")]
Prompt = Annotated[str | None, typer.Option(help="What to paint it as; the model's own default if left out.")]
Seed = Annotated[int | None, typer.Option(help="Picks the starting noise: 0 to 4294967295.")]
Control = Annotated[str | None, typer.Option(help="What the picture is held to: canny.")]
Strength = Annotated[float | None, typer.Option(help="How strongly it is held to that: 0 to 2.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


@app.command()
def serve(
    model: Model = "embedded",
    control: Control = None,
    source: Annotated[
        str | None, typer.Option(help="Also paint this as session 'live': a file, camera:0, test: or a URL.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any free one.")] = 8080,
    device: Device = "auto",
    backend: Backend = "auto",
    token: Annotated[
        str | None, typer.Option(envvar="SDXS_TOKEN", help="What clients must show; made up off loopback.")
    ] = None,
    max_sessions: Annotated[int, typer.Option(help="Places for people at a time.")] = 4,
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

    config = configuration.make(
        model=model,
        control=control,
        source=source,
        host=host,
        port=port,
        device=device,
        backend=backend,
        token=token,
        max_sessions=max_sessions,
        copy_stamp=copy_stamp,
        tls_cert=tls_cert,
        tls_key=tls_key,
        allow_origins=tuple(allow_origin or ()),
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from realtime.serve import serve as run_server
    from realtime.terminal import TerminalAnnouncer

    announcer = TerminalAnnouncer(config, console, open_browser=open_browser)
    _leave(asyncio.run(run_server(config, announcer)))


@app.command()
def image(
    source: Annotated[str, typer.Argument(metavar="IN", help="The picture to paint; - paints from text alone.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write it: .png, .jpg or .webp.")],
    prompt: Prompt = None,
    seed: Seed = None,
    control: Control = None,
    strength: Strength = None,
    size: Annotated[str | None, typer.Option(help="512 or 640x384; the model's own if left out.")] = None,
    model: Model = "embedded",
    device: Device = "auto",
    backend: Backend = "auto",
) -> None:
    """Paint one picture."""
    from realtime import still

    shape = still.parse_size(size) if size else None
    still.check_target(target)
    picture = None if source == "-" else still.read_picture(Path(source))
    loaded, settings = _load(model, device, backend, prompt=prompt, seed=seed, control=control, strength=strength)
    still.write_picture(target, still.paint_still(picture, loaded, settings, shape))
    console.print(f"{target}", soft_wrap=True, highlight=False, markup=False)


@app.command()
def video(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The video file to paint.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write it: .mp4, .mov or .mkv.")],
    prompt: Prompt = None,
    seed: Seed = None,
    control: Control = None,
    strength: Strength = None,
    model: Model = "embedded",
    device: Device = "auto",
    backend: Backend = "auto",
) -> None:
    """Paint a video file: every frame, in order, the audio kept. The middle is cut out in the model's shape."""
    from rich import progress

    from realtime import film

    film.check_paths(source, target)
    columns = (*progress.Progress.get_default_columns(), progress.MofNCompleteColumn())
    with _stoppable(), film.open_film(source, target) as (reading, writing):
        loaded, settings = _load(model, device, backend, prompt=prompt, seed=seed, control=control, strength=strength)
        with progress.Progress(*columns, console=console) as bar:
            task = bar.add_task(target.name, total=reading.frame_count)
            film.paint_film(reading, writing, loaded, settings, painted=lambda count: bar.advance(task, count))
    console.print(f"{target}", soft_wrap=True, highlight=False, markup=False)


@app.command()
def bench(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="model, loop or e2e.")],
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write it to this file.")] = None,
    model: Model = "embedded",
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure.")] = 20.0,
) -> None:
    """Measure: the model next to diffusers, what the loop costs, or the way from camera to display in a browser."""
    from realtime import bench as benchmarks

    if what not in benchmarks.BENCHMARKS:
        raise BadInput(f"There is no benchmark {what!r}; there are {', '.join(benchmarks.BENCHMARKS)}.")
    benchmarks.main(what, json_path, model=model, seconds=seconds)


@app.command()
def models(as_json: AsJson = False) -> None:
    """The models known by name: size, controls, licence, whether the weights are here."""
    from pipelines.catalogue import list_presets
    from realtime import terminal

    presets = list_presets()
    if as_json:
        terminal.print_json(presets)
    else:
        console.print(terminal.models_table(presets))


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


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block, which tidies up, and then the command."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        errors.print("sdxs-live: stopped; nothing was written.")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _load(name: str, device: str, backend: str, **choices: Any) -> tuple[Any, Any]:
    """The model, and its default settings with what the command line chose."""
    from realtime.model import load

    given = {key: value for key, value in choices.items() if value is not None}
    if "strength" in given:
        given["conditioning_scale"] = given.pop("strength")
    with console.status("Loading the model ..."):
        model = load(name, device=device, backend=backend, control=choices["control"])
    return model, model.defaults.replace(given)


def _leave(clean: bool) -> None:
    """A thread inside a native library (the model being loaded) would keep the interpreter from ending, or crash it."""
    if not clean:
        sys.stdout.flush()
        os._exit(0)


def main() -> None:
    """The entry point."""
    app()
