"""Bring a camera picture to the model's size: the middle of it, in the model's aspect ratio."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Centre-crop uint8 H×W×3 to the aspect ratio of ``size`` (height, width) and resize it; never a view."""
    height, width = size
    crop = _centre(image, height / width)
    if crop.shape[:2] == (height, width):
        return crop.copy()
    shrinks = crop.shape[0] > height
    resized = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def _centre(image: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    rows, columns = image.shape[:2]
    keep_rows = min(rows, max(1, round(columns * aspect)))
    keep_columns = min(columns, max(1, round(rows / aspect)))
    top, left = (rows - keep_rows) // 2, (columns - keep_columns) // 2
    return image[top : top + keep_rows, left : left + keep_columns]
