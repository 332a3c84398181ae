"""Lines of a picture without noise, which a subject known from its words is painted with in any case."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.training.drawn.thinning import Edges

Picture = NDArray[np.uint8]

LEAST = 6  # pixels of a line that is no speck
_LOWS = (60.0, 85.0, 120.0, 160.0)  # Canny's lower thresholds that maps are drawn with; the upper is twice as high
_NEXT = np.ones((3, 3), np.uint8)  # lines within a pixel and its diagonal agree


def clean_edges(picture: Picture, like: Edges | None = None) -> Edges:
    """Canny edges of a picture without noise, at the thresholds that come nearest to the map ``like``."""
    if like is None:
        return np.asarray(cv2.Canny(picture, 100, 200), np.uint8)
    near = cv2.dilate(like, _NEXT)
    tried = [np.asarray(cv2.Canny(picture, low, 2 * low), np.uint8) for low in _LOWS]
    return max(tried, key=lambda edges: _agreement(edges, like, near))


def joined(edges: Edges, more: Edges, within: int = 1) -> Edges:
    """``edges``, and of ``more`` the lines that are not already there within so many pixels."""
    fresh = more & ~cv2.dilate(edges, _NEXT, iterations=within)
    return np.asarray(edges | (cv2.dilate(fresh, _NEXT) & more), np.uint8)


def _agreement(edges: Edges, like: Edges, near: Edges) -> float:
    """F1 of two edge maps with a tolerance of a pixel."""
    both = np.count_nonzero(edges & near) + np.count_nonzero(like & cv2.dilate(edges, _NEXT))
    return both / max(1, np.count_nonzero(edges) + np.count_nonzero(like))
