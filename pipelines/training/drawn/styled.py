"""Styles drawn along the edges of the prepared canvases: what the embedded model learns from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.training.data.lazy import Lazy
from pipelines.training.data.maps import webcam_edges
from pipelines.training.drawn import captions
from pipelines.training.drawn.canvases import FOLDER, random_crop
from pipelines.training.drawn.scene import Scene
from pipelines.training.drawn.styles import STYLES, draw

Picture = NDArray[np.uint8]

_NAMES = tuple(STYLES)
_CHANNELS = 3  # of the noise that moves the colours (``Scene``)


class Styled:
    """A source (see ``data.dataset``): each canvas once in every style. Picture and caption depend on the index alone.

    ``folder``: where ``python -m pipelines.training prepare`` put the canvases; empty for its own default.
    """

    group = len(_NAMES)
    skipped: Mapping[str, str] = {}

    def __init__(self, folder: str, size: tuple[int, int]) -> None:
        """Raises TrainingError when the canvases are missing or the pictures wanted are not square."""
        if size[0] != size[1]:
            raise TrainingError(f"Drawn styles are square, not {size[1]}×{size[0]}; give them a square size.")
        file = Path(folder or FOLDER) / "canvases.npy"
        try:
            self._canvases: NDArray[np.uint8] = np.load(file, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"There are no canvases in {file} ({error}): run `python -m pipelines.training prepare` first."
            ) from None
        self._size = size[0]
        count = len(self._canvases) * self.group
        self.names, self.prompts = Lazy(count, _name), Lazy(count, _caption)

    def read(self, index: int) -> Picture:
        """uint8 H×W×3 RGB."""
        rng = np.random.default_rng((11, index))
        edges = self._edges(self._canvases[index // self.group], rng)
        noise = rng.standard_normal((_CHANNELS, self._size // 8, self._size // 8), dtype=np.float32)
        scene = Scene(edges, noise, _said(index)[1])
        return np.rint(draw(scene, _NAMES[index % self.group]) * 255).astype(np.uint8)

    def _edges(self, canvas: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Of a random crop; nearly empty crops teach little, so most of them are drawn again."""
        for _ in range(4):
            edges = webcam_edges(random_crop(canvas, self._size, rng), rng)
            if (edges > 0).mean() > 0.02:
                break
        return edges


def _said(index: int) -> tuple[str, float | None]:
    """The caption and the hue its colour word asks for."""
    return captions.caption(_NAMES[index % len(_NAMES)], np.random.default_rng((13, index)))


def _caption(index: int) -> str:
    return _said(index)[0]


def _name(index: int) -> str:
    return f"canvas {index // len(_NAMES)} in {_NAMES[index % len(_NAMES)]}"
