"""The contact sheet of docs/: held-out photographs, their canny maps and every style.

``python -m pipelines.training.contact_sheet pipelines/embedded docs/contact-sheet.jpg``
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from pipelines.training.evaluation.edges import HELD_OUT, edges_of, held_out_photographs
from pipelines.training.picture import open_pipeline, paint
from pipelines.training.shipped import PRESETS

MARGIN, LABEL = 6, 22
Picture = NDArray[np.uint8]


def contact_sheet(directory: Path, *, seed: int = 0, strength: float = 1.0, columns: int = 7) -> Picture:
    """All pictures with their labels, uint8 RGB: for each photograph a block of rows, ``columns`` pictures wide."""
    pipeline = open_pipeline(directory)
    rows: list[Picture] = []
    for index, (name, photograph) in enumerate(held_out_photographs(HELD_OUT[:4]).items()):
        edges = edges_of(photograph, 100, 200)
        tiles = [_tile(photograph, name), _tile(cv2.cvtColor(edges, cv2.COLOR_GRAY2RGB), "canny 100/200")]
        for label, prompt in PRESETS:
            tiles.append(_tile(paint(pipeline, edges, prompt, seed=seed + index, strength=strength), label))
        rows += [np.concatenate(tiles[start : start + columns], 1) for start in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def _tile(picture: Picture, label: str) -> Picture:
    height, width = picture.shape[:2]
    tile = np.full((height + MARGIN + LABEL, width + MARGIN, 3), 250, np.uint8)
    tile[LABEL : LABEL + height, MARGIN // 2 : MARGIN // 2 + width] = picture
    cv2.putText(tile, label, (MARGIN, LABEL - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return tile


def main(
    directory: Annotated[Path, typer.Argument(help="Model directory in the diffusers layout.")],
    file: Annotated[Path, typer.Argument(help="Picture to write (.jpg or .png).")],
    seed: Annotated[int, typer.Option(help="Seed of the first photograph; the next ones count up.")] = 0,
    strength: Annotated[float, typer.Option(help="Conditioning scale.")] = 1.0,
) -> None:
    """Draw the contact sheet of an exported model."""
    sheet = contact_sheet(directory, seed=seed, strength=strength)
    cv2.imwrite(str(file), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    typer.run(main)
