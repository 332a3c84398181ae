"""``sdxs-live train``: a stage of a recipe, or all of them in their order."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from realtime.errors import BadInput
from realtime.one_line_errors import errors, is_first_process
from realtime.options import Controlnets

if TYPE_CHECKING:
    from pipelines.training.recipe import Recipe
    from pipelines.training.run import Run

#: What the extra ``train`` installs, by the name it is imported under.
EXTRA = ("accelerate", "braceexpand", "peft", "scipy", "skimage", "tensorboard", "torch_fidelity")
#: So much of what was skipped is printed; the rest is counted.
_NAMED = 5


def train(
    stage: Annotated[
        str,
        typer.Argument(
            metavar="STAGE", help="teacher, decoder, unet, one-step, controlnet, gan-finetune, or all of them in order."
        ),
    ],
    recipe: Annotated[str, typer.Option(help="debug, shapes, embedded, sd15-512, sd21-512 or sdxl-1024.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; its stages share it, and a run goes on.")] = None,
    data: Annotated[
        str, typer.Option(help="A folder of pictures, shards, a .txt of prompts, or shapes; the recipe's if left out.")
    ] = "",
    teacher: Annotated[
        str, typer.Option(help="A model's name, directory or OWNER/NAME instead of the recipe's teacher.")
    ] = "",
    controlnet: Controlnets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take.")] = False,
    until: Annotated[int | None, typer.Option(min=1, help="Stop each phase of the stage at this step.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many minutes; the same command goes on from there.")
    ] = None,
    gpu: Annotated[str, typer.Option(help="What a dry run reckons with: h100, a100, rtx4090 or cpu.")] = "h100",
    processes: Annotated[int, typer.Option(min=1, help="How many of them a dry run reckons with.")] = 1,
) -> None:
    """Train a stage of the SDXS method, or all; what was begun goes on.

    On several GPUs: accelerate launch -m realtime train ...
    """
    check_extra()
    from pipelines.training.recipes import find_recipe

    chosen = with_controlnets(find_recipe(recipe), controlnet or ())
    stages = stages_of(stage, chosen, teacher=teacher)
    console = Console(quiet=not is_first_process())
    if dry_run:
        from pipelines.training.dry_run import print_stage

        for each in stages:
            print_stage(console, chosen, each, gpu=gpu, processes=processes, teacher=teacher)
        return
    if out is None:
        raise BadInput("Say where the run lives: --out DIR.")
    if until is not None and len(stages) > 1:
        raise BadInput("--until goes with one stage, not with all.")
    from pipelines.training.run import Run

    ends = math.inf if minutes is None else time.monotonic() + 60 * minutes
    _train(stages, Run(folder=out, recipe=chosen, data=data, teacher=teacher, ends=ends), until, console)


def check_extra() -> None:
    """Raises BadInput with the command that installs what training needs on top."""
    if missing := [name for name in EXTRA if importlib.util.find_spec(name) is None]:
        raise BadInput(f"Training needs {', '.join(missing)}: run pip install 'sdxs-live[train]' first.")


def stages_of(stage: str, recipe: Recipe, *, teacher: str = "") -> list[str]:
    """The one, or all that the recipe has: no ``teacher`` where a teacher is given. Raises BadInput."""
    from pipelines.training.run import STAGES

    given = teacher or recipe.teacher
    if stage == "all":
        return [each for each in STAGES if each != "teacher" or not given]
    if stage not in STAGES:
        raise BadInput(f"There is no stage {stage!r}; the stages are {', '.join(STAGES)}, and all.")
    if stage == "teacher" and given:
        raise BadInput(f"The recipe {recipe.name} has a teacher, {given}; there is none to train.")
    return [stage]


def with_controlnets(recipe: Recipe, given: Sequence[str]) -> Recipe:
    """The recipe with ``KIND=REPO_OR_DIR`` instead of or beside its teacher's ControlNets."""
    kinds = {each.partition("=")[0] for each in given}
    kept = [each for each in recipe.teacher_controlnets if each.partition("=")[0] not in kinds]
    return dataclasses.replace(recipe, teacher_controlnets=(*kept, *given))


def _train(stages: Sequence[str], run: Run, until: int | None, console: Console) -> None:
    from pipelines.training.data.dataset import open_data
    from pipelines.training.train import leave
    from pipelines.training.train import train as train_stage

    skipped = _Skipped()
    logging.getLogger("pipelines.training.data").addHandler(skipped)
    try:
        if not all(run.has(stage) for stage in stages):  # what is wrong with the data is said before anything is loaded
            open_data(run.data or run.recipe.data, run.recipe.size)
        for stage in stages:
            if run.has(stage):
                console.print(f"{stage}: done before, in {run.folder / stage}", soft_wrap=True, highlight=False)
                continue
            train_stage(stage, run, until=until)
            model = run.folder / stage / "model"
            told = f"done, {model}" if run.has(stage) else "not done yet; without --until it goes on"
            console.print(f"{stage}: {told}", soft_wrap=True, highlight=False)
    except KeyboardInterrupt:  # outside of the loop, which saves and says so itself
        errors.print("sdxs-live: stopped; the same command goes on with what was saved.")
        raise typer.Exit(130) from None
    finally:
        leave()
        logging.getLogger("pipelines.training.data").removeHandler(skipped)
        skipped.say(console)


class _Skipped(logging.Handler):
    """Gathers what is said of files that the data leave out: once for those found at the start, then one by one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self._lines[record.getMessage()] = None

    def say(self, console: Console) -> None:
        """The first of it, and how much more there is; nothing where nothing was left out."""
        for line in list(self._lines)[:_NAMED]:
            console.print(f"data: {line}", soft_wrap=True, highlight=False, markup=False)
        if len(self._lines) > _NAMED:
            console.print(f"data: and {len(self._lines) - _NAMED} more", highlight=False)
