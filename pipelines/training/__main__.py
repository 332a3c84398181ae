"""Prepare the pictures, train the stages, export the model, measure it: ``python -m pipelines.training COMMAND``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import cv2
import typer

from pipelines.errors import PipelineError
from pipelines.training import data, evaluate, ranks, stages
from pipelines.training.quantise_command import quantise_command
from pipelines.training.recipes import RECIPES

app = typer.Typer(add_completion=False, help=__doc__)

RecipeName = Enum("RecipeName", {name: name for name in RECIPES}, type=str)  # type: ignore[misc]
RecipeOption = Annotated[RecipeName, typer.Option("--recipe", help="What to train.")]
DataOption = Annotated[Path, typer.Option("--data", help="Folder of the prepared pictures.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of the run: one folder a stage, checkpoints inside.")]
DEFAULT = RecipeName("embedded")
DATA, OUT = Path(".data/embedded"), Path("runs/embedded")


@app.command("prepare")
def prepare_command(recipe: RecipeOption = DEFAULT, folder: DataOption = DATA) -> None:
    """Fetch the source packages and make the canvases; print how many pictures each source gave."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in data.prepare(folder, count=RECIPES[recipe.value].canvases).items():
        typer.echo(f"{count:6d}  {name}")


@app.command("train")
def train_command(
    stage: Annotated[str, typer.Argument(help="autoencoder, text, edges, one-step, finetune; or all.")],
    recipe: RecipeOption = DEFAULT,
    folder: DataOption = DATA,
    out: OutOption = OUT,
) -> None:
    """Train a stage; called again, it goes on from its last checkpoint. Quickest on a CPU as a process a core:
    ``torchrun --nproc-per-node 2 -m pipelines.training train all``."""
    ranks.join()
    for name in stages.STAGES if stage == "all" else (stage,):
        stages.train(name, RECIPES[recipe.value], folder, out)
    ranks.leave()


@app.command("export")
def export_command(
    directory: Annotated[Path, typer.Argument(help="Model directory to write, in the diffusers layout.")],
    recipe: RecipeOption = DEFAULT,
    out: OutOption = OUT,
) -> None:
    """Write the averaged weights of the last trained stage as a model directory."""
    stages.export_last(RECIPES[recipe.value], out, directory)


@app.command("evaluate")
def evaluate_command(
    directory: Annotated[Path, typer.Argument(help="Model directory in the diffusers layout.")],
    strength: Annotated[float, typer.Option(min=0, max=2, help="Conditioning scale.")] = 1.0,
) -> None:
    """Edge skill on held-out photographs, one line a style."""
    for name, skill in evaluate.measure(directory, strength=strength).items():
        typer.echo(f"{skill:6.3f}  {name}")


app.command("quantise")(quantise_command)


def main(run: Callable[[], None] = app) -> None:
    """The command line; a wrong input is one sentence and exit code 2."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the drawing worker is forked
    cv2.setNumThreads(1)
    try:
        run()
    except PipelineError as error:
        typer.echo(str(error), err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
