"""Canny edges, drawn by controlnet-aux's CannyDetector: white lines on black."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.condition import ConditionMap
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
        # The detector rounds sides to multiples of 64 and resizes to them, which would blur the lines of any other
        # size: such a picture is padded to the grid and cut again.
        padded = _pad_to_grid(image)
        edges = _detector()(
            padded,
            low_threshold=settings.canny_low,
            high_threshold=settings.canny_high,
            detect_resolution=min(padded.shape[:2]),
            image_resolution=min(padded.shape[:2]),
            output_type="np",
        )
        return ConditionMap(map=np.ascontiguousarray(edges[:height, :width, 0]), kind=self.kind)


def _pad_to_grid(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    below, right = -height % 64, -width % 64
    if not below and not right:
        return image
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")


@cache
def _detector() -> Any:
    # controlnet-aux imports all its detectors with torchvision and timm (seconds), so it is left to first use; the
    # warnings are about its own use of timm's registry and torch.jit.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from controlnet_aux import CannyDetector
    return CannyDetector()
