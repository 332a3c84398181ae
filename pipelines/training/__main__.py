"""Prepare the pictures, train the stages, export the model, measure it: ``python -m pipelines.training COMMAND``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import typer

from pipelines.errors import PipelineError
from pipelines.training import evaluate
from pipelines.training.drawn import canvases
from pipelines.training.quantise_command import quantise_command

app = typer.Typer(add_completion=False, help=__doc__)

DataOption = Annotated[Path, typer.Option("--data", help="Folder of the prepared pictures.")]
DATA = Path(".data/embedded")


@app.command("prepare")
def prepare_command(
    folder: DataOption = DATA, count: Annotated[int, typer.Option(min=1, help="Canvases to make.")] = 8000
) -> None:
    """Fetch the source packages and make the canvases; print how many pictures each source gave."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pictures in canvases.prepare(folder, count=count).items():
        typer.echo(f"{pictures:6d}  {name}")


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
