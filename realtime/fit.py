"""Bring a picture to the model's size: of a camera's the middle, of a drawing the whole on white."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WHITE = 255
#: The camera's colours go to the model at a quarter of its sides.
COLOUR_SHRINK = 4


def fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Centre-crop uint8 H×W×3 to the aspect ratio of ``size`` (height, width) and resize it; never a view."""
    return _resize(_centre(image, size[0] / size[1]), size)


def fit_whole(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize uint8 H×W×3 so that all of it is inside ``size`` (height, width), in the middle of white paper."""
    rows, columns = image.shape[:2]
    scale = min(size[0] / rows, size[1] / columns)
    height, width = (max(1, min(most, round(side * scale))) for side, most in zip((rows, columns), size, strict=True))
    paper = np.full((*size, 3), WHITE, np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    paper[top : top + height, left : left + width] = _resize(image, (height, width))
    return paper


def shrink(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 H×W×3 or H×W averaged over areas to (height, width); itself where it has that size."""
    if image.shape[:2] == size:
        return image
    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA), dtype=np.uint8)


class Sheet:
    """``fit_whole`` that remembers the last drawing, as the same one is asked for frame after frame.

    One thread at a time.
    """

    def __init__(self) -> None:
        self._drawing: NDArray[np.uint8] | None = None
        self._fitted: NDArray[np.uint8] | None = None

    def __call__(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """The size doesn't change over the life of a sheet."""
        if self._fitted is None or self._drawing is not image:
            self._fitted = fit_whole(image, size)
            self._drawing = image
        return self._fitted


def _resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = size
    if image.shape[:2] == size:
        return image.copy()
    shrinks = image.shape[0] > height
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def _centre(image: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    rows, columns = image.shape[:2]
    keep_rows = min(rows, max(1, round(columns * aspect)))
    keep_columns = min(columns, max(1, round(rows / aspect)))
    top, left = (rows - keep_rows) // 2, (columns - keep_columns) // 2
    return image[top : top + keep_rows, left : left + keep_columns]
