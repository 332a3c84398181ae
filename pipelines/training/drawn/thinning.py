"""Edges left out as the conditioning scale falls: the strongest lines stay, and at a lower scale fewer of the same."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Edges = NDArray[np.uint8]  # H×W, 0 or 255

#: At conditioning scale s about the part s^POWER of all edge pixels stays.
POWER = 0.7


def thinned(edges: Edges, strength: float) -> Edges:
    """The edges that stay at ``strength`` (0: none, 1: all), uint8 H×W, 0 or 255.

    The longest connected lines stay longest; the last of them is cut along its course, so that what stays grows
    steadily with the strength and holds all that stays at a lower one.
    """
    if strength >= 1:
        return edges.copy()
    rows, columns = np.nonzero(edges)
    keep = round(max(strength, 0.0) ** POWER * len(rows))
    kept = _ranked(edges, rows, columns)[:keep]
    left = np.zeros_like(edges)
    left[rows[kept], columns[kept]] = 255
    return left


def without_specks(edges: Edges, least: int) -> Edges:
    """Connected components of fewer than ``least`` pixels left out."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(edges, connectivity=8, ltype=cv2.CV_32S)
    large = stats[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    return np.where(large[labels], 255, 0).astype(np.uint8)


def _ranked(edges: Edges, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """The edge pixels' order: by the length of their line, longest first, then along it."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(edges, connectivity=8, ltype=cv2.CV_32S)
    label = labels[rows, columns]
    length = stats[label, cv2.CC_STAT_AREA]
    course = _course(edges)[rows, columns]
    return np.lexsort((course, label, -length))


def _course(edges: Edges) -> NDArray[np.int32]:
    """For each pixel when a walk along the lines first comes by it; pixels that no walk touches come last."""
    contours, _ = cv2.findContours(edges, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    course = np.full(edges.shape, np.iinfo(np.int32).max, np.int32)
    if contours:
        walk = np.concatenate(contours)[::-1, 0]  # backwards: the first visit is written last
        course[walk[:, 1], walk[:, 0]] = np.arange(len(walk), 0, -1)
    return course
