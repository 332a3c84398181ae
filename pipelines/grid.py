"""Pictures of any size for detectors that know only multiples of 64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELL = 64


def pad_to_grid(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 H×W×3 with its last row and column repeated until both sides are multiples of 64.

    controlnet-aux rounds sides to such multiples and resizes to them, which would blur the lines of any other size: the
    picture is padded instead, and the map cut again by the caller.
    """
    height, width = image.shape[:2]
    below, right = -height % CELL, -width % CELL
    if not below and not right:
        return image
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
