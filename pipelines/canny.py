"""Canny edges, drawn by controlnet-aux's CannyDetector: white lines on black."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.condition import ConditionMap
from pipelines.detectors import import_controlnet_aux
from pipelines.grid import pad_to_grid
from pipelines.settings import Kind, Settings


class CannyConditioner:
    """Conditioner and its own drawer for ``canny``; reads ``canny_low`` and ``canny_high`` of the settings."""

    kind: Kind = "canny"

    def is_slow(self, settings: Settings) -> bool:
        return False

    def drawer(self) -> CannyConditioner:
        return self

    def warm_up(self, size: tuple[int, int], settings: Settings) -> None:
        self(np.zeros((*size, 3), np.uint8), settings)

    def __call__(self, image: NDArray[np.uint8], settings: Settings) -> ConditionMap:
        """``image``: uint8 H×W×3 RGB. Returns a map of the same H×W with values 0 and 255 only."""
        height, width = image.shape[:2]
        padded = pad_to_grid(image)
        edges = _detector()(
            padded,
            low_threshold=settings.canny_low,
            high_threshold=settings.canny_high,
            detect_resolution=min(padded.shape[:2]),
            image_resolution=min(padded.shape[:2]),
            output_type="np",
        )
        return ConditionMap(map=np.ascontiguousarray(edges[:height, :width, 0]), kind=self.kind)


@cache
def _detector() -> Any:
    return import_controlnet_aux().CannyDetector()
