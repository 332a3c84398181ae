"""Edges drawn again as by hand: thick, smooth, wobbling strokes with gaps."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.training.drawn.steadying import joined
from pipelines.training.drawn.thinning import POWER, Edges, thinned, without_specks

Picture = NDArray[np.uint8]
Stroke = NDArray[np.float32]  # N×2: x, y

_FINE = 4  # binary digits behind the point of a drawn stroke's places
_MOST = 0.045  # share of all pixels on such lines: thick strokes of more would run together
_LEAST = 14  # pixels of a line that a hand draws


def sketch(picture: Picture, outline: Edges | None, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Edges]:
    """A drawing after a picture: the strokes, uint8 H×W, white on black, and the lines in their middle (0 or 255).

    ``outline``: lines that are drawn too where the picture hardly shows them.
    """
    blurred = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(1.0, 2.5)))
    low = float(rng.uniform(30, 70))
    edges = np.asarray(cv2.Canny(blurred, low, 2.2 * low), np.uint8)
    if outline is not None:
        edges = joined(outline, edges, within=3)
    edges = _longest(edges, float(rng.uniform(0.02, _MOST)))
    drawn, middle = np.zeros_like(edges), np.zeros_like(edges)
    wobble, thickness = _wobble(edges.shape[:2], rng), int(rng.integers(2, 4))
    tolerance = float(rng.uniform(0.7, 1.8))
    for line in _lines(edges):
        stroke = _by_hand(line, tolerance, wobble, rng)
        places = [np.rint(stroke * (1 << _FINE)).astype(np.int32)]
        cv2.polylines(drawn, places, False, 255, thickness, cv2.LINE_AA, _FINE)
        cv2.polylines(middle, places, False, 255, 1, cv2.LINE_8, _FINE)
    return drawn, middle


def _longest(edges: Edges, share: float) -> Edges:
    """As many of the longest lines as a hand draws: not more than ``share`` of all pixels."""
    there = (edges > 0).mean()
    return without_specks(thinned(edges, (share / there) ** (1 / POWER)) if there > share else edges, _LEAST)


def _lines(edges: Edges) -> Iterator[Stroke]:
    """Each line once, from one end to the other: a contour runs there and back again, turning at the ends."""
    seen = np.zeros(edges.shape, bool)
    for contour in cv2.findContours(edges, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]:
        walk = contour[:, 0]
        turns = np.flatnonzero((np.roll(walk, 1, 0) == np.roll(walk, -1, 0)).all(1))
        if len(turns):
            walk, turns = np.roll(walk, -turns[0], 0), turns - turns[0]
        else:
            walk = np.concatenate([walk, walk[:1]])
        for line in np.split(walk, turns[1:]):
            known = seen[line[:, 1], line[:, 0]]
            seen[line[:, 1], line[:, 0]] = True
            if len(line) >= _LEAST and known.mean() < 0.5:
                yield line.astype(np.float32)


def _by_hand(line: Stroke, tolerance: float, wobble: NDArray[np.float32], rng: np.random.Generator) -> Stroke:
    """Simplified, rounded off and moved; sometimes it starts late or ends early."""
    if rng.random() < 0.3:
        cut = int(rng.integers(0, max(1, min(10, len(line) // 4))))
        line = line[cut:] if rng.random() < 0.5 else line[: len(line) - cut]
    stroke = cv2.approxPolyDP(line[:, None], tolerance, False)[:, 0]
    for _ in range(2):
        stroke = _rounded(stroke)
    columns = np.clip(np.rint(stroke[:, 0]).astype(int), 0, wobble.shape[1] - 1)
    rows = np.clip(np.rint(stroke[:, 1]).astype(int), 0, wobble.shape[0] - 1)
    return (stroke + wobble[rows, columns]).astype(np.float32)


def _rounded(stroke: Stroke) -> Stroke:
    """Its corners cut (Chaikin 1974), its ends kept."""
    before, after = stroke[:-1], stroke[1:]
    cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], 1).reshape(-1, 2)
    return np.concatenate([stroke[:1], cut, stroke[-1:]])


def _wobble(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """How far each place is moved, H×W×2 in pixels: smooth, mostly within two."""
    coarse = rng.standard_normal((7, 7, 2), dtype=np.float32) * np.float32(rng.uniform(0.4, 1.1))
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)
