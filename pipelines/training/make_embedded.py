"""``python -m pipelines.training embedded``: the model that ships, trained again from nothing, in pieces.

Each step is passed over where it is done: pictures are prepared, the stages of the recipe ``embedded`` trained in one
run's folder, what they left is shipped, with drawings of the subjects and its int8 form. A piece may end anywhere, also
by the power's failing.
"""

from __future__ import annotations

import importlib.util
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol

import torch
import typer

import pipelines
from pipelines.album import FILE as ALBUM
from pipelines.backends.quantised import FOLDER, MANIFEST
from pipelines.errors import TrainingError
from pipelines.training.drawn import canvases
from pipelines.training.drawn.tracing import write_album
from pipelines.training.launch import launch
from pipelines.training.recipe import Recipe
from pipelines.training.recipes import find_recipe
from pipelines.training.run import Run
from pipelines.training.ship import is_shipped, ship
from pipelines.training.times import Times, cores, describe_machine, total
from pipelines.training.work import work_of

#: In their order; the recipe's last one is left out, as it betters nothing here.
STAGES = ("teacher", "decoder", "unet", "one-step", "controlnet")
RUN, TARGET = Path("runs/embedded"), Path(pipelines.__file__).parent / "embedded"
_PREPARED = ("canvases.npy", "subjects.npy", "subjects.json", "sources.json")
#: What ``realtime train`` ends with when it was stopped and all is saved.
_STOPPED = 130


class Launch(Protocol):
    """``launch``, or what stands for it."""

    def __call__(
        self, arguments: Sequence[str], *, processes: int = 1, environment: Mapping[str, str] | None = None
    ) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Step:
    """``module``: arguments of ``python -m``; without any ``act`` does it here. ``pauses``: whether it can be ended
    after some minutes and gone on with, and is trained in several processes."""

    name: str
    is_done: Callable[[], bool]
    module: tuple[str, ...] = ()
    act: Callable[[], None] | None = None
    pauses: bool = False


def embedded_command(
    folder: Annotated[Path, typer.Option("--run", help="The run's folder; what is there goes on.")] = RUN,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many minutes; the same command goes on from there.")
    ] = None,
    target: Annotated[Path, typer.Option("--to", help="Where the model is shipped to.")] = TARGET,
) -> None:
    """Train the model that ships again, from preparing its pictures to its int8 form; what is done is passed over."""
    make(steps(folder, target), folder, minutes=minutes, processes=processes_of(find_recipe("embedded")))


def make(
    todo: Sequence[Step], folder: Path, *, processes: int, minutes: float | None = None, start: Launch = launch
) -> bool:
    """Do the steps that aren't done, and tell of it; False where the time was up before.

    Raises TrainingError for a step that failed, TrainingStopped after Ctrl-C, and what ``ship`` raises.
    """
    _check_extras()
    ends = math.inf if minutes is None else time.monotonic() + 60 * minutes
    for number, step in enumerate(todo):
        if step.is_done():
            continue
        left = (ends - time.monotonic()) / 60
        if left <= 0 or not _do(step, folder, left, processes, start):
            done = ", ".join(each.name for each in todo[:number]) or "nothing"
            typer.echo(
                f"The time is up. Done so far: {done}; next: {step.name}. {_spent(folder)} The same command goes on."
            )
            return False
    typer.echo(f"All is done: {', '.join(each.name for each in todo)}. {_spent(folder)}")
    return True


def steps(folder: Path, target: Path) -> list[Step]:
    """All there is to do, in its order. ``folder``: the run's; ``target``: the shipped model's."""
    run = Run(folder=folder, recipe=find_recipe("embedded"))
    last = folder / STAGES[-1] / "model"
    pictures = canvases.FOLDER
    prepare = Step(
        name="prepare",
        is_done=lambda: all((pictures / name).is_file() for name in _PREPARED),
        module=("pipelines.training", "prepare"),
    )
    stages = [
        Step(
            name=stage,
            is_done=partial(run.has, stage),
            module=("realtime", "train", stage, "--recipe", run.recipe.name, "--out", str(folder)),
            pauses=True,
        )
        for stage in STAGES
    ]
    album = Step(
        name="subjects",
        is_done=(target / ALBUM).is_file,
        act=lambda: write_album(pictures, target / ALBUM),
    )
    shipped = Step(name="ship", is_done=lambda: is_shipped(last, target), act=lambda: ship(last, target))
    int8 = Step(
        name="quantise",
        is_done=lambda: _has_form(target),
        module=("pipelines.training", "quantise", str(target)),
    )
    return [prepare, *stages, shipped, album, int8]


def processes_of(recipe: Recipe) -> int:
    """One on a GPU; on CPUs as many as there are cores, as far as every batch can be shared out among them."""
    if torch.cuda.is_available():
        return 1
    batches = math.gcd(*(work.plan.batch for stage in STAGES for work in work_of(recipe, stage)))
    return max(count for count in range(1, cores() + 1) if batches % count == 0)


def _do(step: Step, folder: Path, left: float, processes: int, start: Launch) -> bool:
    """One step, and note what it took; False where it ran out of its ``left`` minutes."""
    typer.echo(f"{step.name} ...")
    gpu = torch.cuda.is_available()
    times, before, begun = Times(folder, describe_machine(processes, gpu=gpu)), total(folder), time.monotonic()
    code = 0
    try:
        if step.act is not None:
            step.act()
        else:
            minutes = ("--minutes", f"{max(left, 0.1):.2f}") if step.pauses and left < math.inf else ()
            count = processes if step.pauses else 1
            threads = {} if gpu else {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": str(max(cores() // count, 1))}
            code = start(("-m", *step.module, *minutes), processes=count, environment=threads)
    finally:  # stages count their own time; what is left of it went into starting, or into what was lost
        rest = time.monotonic() - begun - (total(folder) - before)
        times.add("starting" if step.pauses else step.name, max(rest, 0.0))
    if code == _STOPPED and step.pauses and left < math.inf:
        return False
    if code or not step.is_done():
        raise TrainingError(
            f"The step {step.name} ended with exit code {code}: what it said stands above; with that mended the same "
            "command goes on."
        )
    return True


def _has_form(target: Path) -> bool:
    """``ship`` takes away another model's, and the last thing written to one is how good it is."""
    manifest = target / FOLDER / MANIFEST
    return manifest.is_file() and "least_psnr" in json.loads(manifest.read_text(encoding="utf-8"))


def _check_extras() -> None:
    """Before hours are spent. Raises TrainingError."""
    if missing := [name for name in ("accelerate", "nncf") if importlib.util.find_spec(name) is None]:
        raise TrainingError(f"This needs {' and '.join(missing)}: run pip install 'sdxs-live[train,quantise]' first.")


def _spent(folder: Path) -> str:
    return f"{total(folder) / 3600:.2f} hours until now (see {folder / 'time.json'})."
