"""What making the embedded model takes beside ``sdxs-live train``: ``python -m pipelines.training COMMAND``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import typer

from pipelines.errors import PipelineError, TrainingStopped
from pipelines.training.drawn import canvases
from pipelines.training.make_embedded import embedded_command
from pipelines.training.quantise_command import quantise_command

app = typer.Typer(add_completion=False, help=__doc__)

DataOption = Annotated[Path, typer.Option("--data", help="Folder of the prepared pictures.")]


@app.command("prepare")
def prepare_command(
    folder: DataOption = canvases.FOLDER, count: Annotated[int, typer.Option(min=1, help="Canvases to make.")] = 6000
) -> None:
    """Fetch the source packages, make canvases and subjects; print how many pictures each source gave."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in canvases.prepare(folder, count=count):
        typer.echo(f"{source['pictures']:6d}  {source['name']} {source['version']} ({source['licence']})")


app.command("quantise")(quantise_command)
app.command("embedded")(embedded_command)


def main(run: Callable[[], None] = app) -> None:
    """The command line; a wrong input is one sentence and exit code 2; 130 after Ctrl-C."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the drawing worker is forked
    cv2.setNumThreads(1)
    try:
        run()
    except PipelineError as error:
        typer.echo(str(error), err=True)
        sys.exit(130 if isinstance(error, TrainingStopped) else 2)


if __name__ == "__main__":
    main()
