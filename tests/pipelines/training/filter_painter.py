"""A painter whose answer is known: classical filters by the style's name, for the tests of metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.settings import Settings
from pipelines.training.evaluation.edges import edges_of

Picture = NDArray[np.uint8]
Paint = Callable[[Picture, Settings], Picture]
STYLES = ("lines", "blur", "blocks", "negative")


def filtered(picture: Picture, settings: Settings) -> Picture:
    """A style by its name, a little brighter or darker by its seed."""
    grown = cv2.resize(cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA), (128, 128), interpolation=0)
    painted = {
        "lines": np.repeat(255 - edges_of(picture)[..., None], 3, 2),
        "blur": cv2.GaussianBlur(picture, (0, 0), 4),
        "blocks": grown,
        "negative": 255 - picture,
    }[settings.prompt]
    return np.asarray(np.clip(painted.astype(int) + settings.seed % 7 - 3, 0, 255), np.uint8)


class FilterPainter:
    """A ``Painter`` whose brush is a function of the photograph and the settings; 128×128."""

    name, size, controls, prompt = "filters", (128, 128), ("canny",), "lines"

    def __init__(self, paint: Paint = filtered, names: Sequence[str] = STYLES) -> None:
        self._paint, self.styles = paint, [(name, name) for name in names]

    def settings(self, prompt: str, *, seed: int, control: str, strength: float, init_strength: float) -> Settings:
        return Settings(prompt=prompt, seed=seed).replace(
            control=control, conditioning_scale=strength, init_strength=init_strength
        )

    def paint(self, pictures: Sequence[Picture | None], settings: Sequence[Settings]) -> list[Picture]:
        blank = np.full((128, 128, 3), 128, np.uint8)
        return [self._paint(blank if p is None else p, each) for p, each in zip(pictures, settings, strict=True)]
