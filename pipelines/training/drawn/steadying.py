"""What of a noisy edge map is real: the lines that are painted, though the map flickers."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.training.drawn.thinning import Edges, without_specks

Picture = NDArray[np.uint8]

_LEAST = 6  # pixels of a line that is no speck
_LOWS = (60.0, 85.0, 120.0, 160.0)  # Canny's lower thresholds that maps are drawn with; the upper is twice as high
_NEXT = np.ones((3, 3), np.uint8)  # lines within a pixel and its diagonal agree
_BREAK = 5  # pixels, from which on a break is no flicker; one more at either end is next to the line


def clean_edges(picture: Picture, like: Edges | None = None) -> Edges:
    """Canny edges of a picture without noise, at the thresholds that come nearest to the map ``like``."""
    if like is None:
        return np.asarray(cv2.Canny(picture, 100, 200), np.uint8)
    near = cv2.dilate(like, _NEXT)
    tried = [np.asarray(cv2.Canny(picture, low, 2 * low), np.uint8) for low in _LOWS]
    return max(tried, key=lambda edges: _agreement(edges, like, near))


def settled(edges: Edges, clean: Edges) -> Edges:
    """The lines of the map ``edges`` that ``clean`` knows too, where the map has them, drawn through short breaks.

    Specks, and lines that only the noise drew, are left out.
    """
    clean = without_specks(clean, _LEAST)
    agreed = without_specks(edges & cv2.dilate(clean, _NEXT), _LEAST)
    apart = clean & ~cv2.dilate(agreed, _NEXT)
    breaks = cv2.dilate(apart & ~without_specks(apart, _BREAK), _NEXT) & clean
    hair_breaks = cv2.morphologyEx(agreed, cv2.MORPH_CLOSE, _NEXT) & (clean | edges)
    return np.asarray(agreed | breaks | hair_breaks, np.uint8)


def joined(edges: Edges, more: Edges, within: int = 1) -> Edges:
    """``edges``, and of ``more`` the lines that are not already there within so many pixels."""
    fresh = more & ~cv2.dilate(edges, _NEXT, iterations=within)
    return np.asarray(edges | (cv2.dilate(fresh, _NEXT) & more), np.uint8)


def _agreement(edges: Edges, like: Edges, near: Edges) -> float:
    """F1 of two edge maps with a tolerance of a pixel."""
    both = np.count_nonzero(edges & near) + np.count_nonzero(like & cv2.dilate(edges, _NEXT))
    return both / max(1, np.count_nonzero(edges) + np.count_nonzero(like))
