"""``sdxs-live image`` and ``sdxs-live video``: a file in, a painted one out."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from realtime.one_line_errors import errors
from realtime.options import (
    Backend,
    Control,
    Controlnets,
    Device,
    Dtype,
    Loras,
    Model,
    Prompt,
    Seed,
    Set,
    Size,
    Strength,
    Vae,
    Verify,
    parse_settings,
    parse_size,
)

console = Console()


def image(
    source: Annotated[str, typer.Argument(metavar="IN", help="The picture to paint; - paints from text alone.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write it: .png, .jpg or .webp.")],
    prompt: Prompt = None,
    seed: Seed = None,
    control: Control = None,
    strength: Strength = None,
    settings: Set = None,
    size: Size = None,
    model: Model = "embedded",
    dtype: Dtype = "auto",
    controlnet: Controlnets = None,
    lora: Loras = None,
    vae: Vae = None,
    device: Device = "auto",
    backend: Backend = "auto",
    verify: Verify = False,
) -> None:
    """Paint one picture."""
    from realtime import still
    from realtime.choose import backend_for_one
    from realtime.modes import with_patch

    shape = parse_size(size) if size else None
    patch = _patch(settings, prompt=prompt, seed=seed, control=control, strength=strength)
    still.check_target(target)
    picture = None if source == "-" else still.read_picture(Path(source))
    backend = backend_for_one(backend, device=device)
    loaded = _load(model, device, backend, dtype, shape, control, controlnet, lora, vae, verify)
    still.write_picture(target, still.paint_still(picture, loaded, with_patch(loaded.defaults, patch)))
    _say(f"{target}")


def video(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The video file to paint.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write it: .mp4, .mov or .mkv.")],
    prompt: Prompt = None,
    seed: Seed = None,
    control: Control = None,
    strength: Strength = None,
    settings: Set = None,
    size: Size = None,
    model: Model = "embedded",
    dtype: Dtype = "auto",
    controlnet: Controlnets = None,
    lora: Loras = None,
    vae: Vae = None,
    device: Device = "auto",
    backend: Backend = "auto",
    verify: Verify = False,
) -> None:
    """Paint a video file: every frame, in order, the audio kept. The middle is cut out in the model's shape."""
    from rich import progress

    from realtime import film
    from realtime.modes import with_patch

    shape = parse_size(size) if size else None
    patch = _patch(settings, prompt=prompt, seed=seed, control=control, strength=strength)
    film.check_paths(source, target)
    columns = (*progress.Progress.get_default_columns(), progress.MofNCompleteColumn())
    with _stoppable(), film.open_film(source, target) as (reading, writing):
        loaded = _load(model, device, backend, dtype, shape, control, controlnet, lora, vae, verify)
        chosen = with_patch(loaded.defaults, patch)
        with progress.Progress(*columns, console=console) as bar:
            task = bar.add_task(target.name, total=reading.frame_count)
            film.paint_film(reading, writing, loaded, chosen, painted=lambda count: bar.advance(task, count))
    _say(f"{target}")


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


def _patch(assignments: list[str] | None, *, strength: float | None, **choices: Any) -> dict[str, Any]:
    """What the command line chose of the settings; what is left out is None."""
    chosen = {**choices, "conditioning_scale": strength}
    return {**{key: value for key, value in chosen.items() if value is not None}, **parse_settings(assignments or ())}


def _load(
    name: str,
    device: str,
    backend: str,
    dtype: str,
    size: tuple[int, int] | None,
    control: str | None,
    controlnets: list[str] | None,
    loras: list[str] | None,
    vae: str | None,
    verified: bool,
) -> Any:
    """The model; its files are fetched first, if they are not here, with progress bars."""
    from realtime.choose import choose_model
    from realtime.model import load, verify

    parts: dict[str, Any] = {"controlnets": tuple(controlnets or ()), "loras": tuple(loras or ()), "vae": vae}
    choice = choose_model(name, device=device, dtype=dtype, **parts)
    if choice.why:
        _say(f"Model: {choice.why}")
    with console.status("Loading the model ..."):
        model = load(choice.name, device=device, backend=backend, control=control, dtype=dtype, size=size, **parts)
    if verified:
        with console.status("Checking its pictures ..."):
            line = verify(model)
        _say(line)
    return model


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
