"""Subjects as an album keeps them: the lines of a cut-out as strokes, and its colours, small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.album import THUMB, Album, Subject
from pipelines.training.drawn.captions import WORDINGS
from pipelines.training.drawn.steadying import clean_edges, joined
from pipelines.training.drawn.subjects import Cutout, words_of
from pipelines.training.drawn.thinning import Edges

_GREY = 128  # the ground that a cut-out's lines are looked for on
_SIMPLER = 0.7  # pixels that a stroke may be off the line
_SHORTEST = 5  # pixels of a line that is a stroke

_AROUND = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1))  # straight ways first


def make_album(cutouts: NDArray[np.uint8], names: list[str]) -> Album:
    """``cutouts``: N×256×256×4, uint8 RGBA."""
    subjects = [_remembered(cutout, name) for cutout, name in zip(cutouts, names, strict=True)]
    return Album(subjects, silent=[wording for wordings in WORDINGS.values() for wording in wordings])


def write_album(folder: Path, file: Path) -> None:
    """The album of the subjects that ``python -m pipelines.training prepare`` left in ``folder``, all or nothing."""
    cutouts = np.load(folder / "subjects.npy", mmap_mode="r")
    partial = file.with_suffix(".part.npz")
    make_album(cutouts, json.loads((folder / "subjects.json").read_text(encoding="utf-8"))).save(partial)
    partial.replace(file)


def _remembered(cutout: Cutout, name: str) -> Subject:
    alpha = cutout[..., 3:].astype(np.float32) / 255
    picture = np.rint(_GREY * (1 - alpha) + cutout[..., :3] * alpha).astype(np.uint8)
    outline = np.asarray(cv2.Canny(cutout[..., 3], 100, 200), np.uint8)
    multiplied = np.concatenate([cutout[..., :3] * alpha, 255 * alpha], -1)
    small = cv2.resize(multiplied, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    small[..., :3] *= 255 / np.maximum(small[..., 3:], 1)
    return Subject(
        names=words_of(name),
        strokes=list(strokes_of(joined(clean_edges(picture), outline, 3))),
        colours=np.rint(np.clip(small, 0, 255)).astype(np.uint8),
    )


def strokes_of(edges: Edges) -> Iterator[NDArray[np.uint8]]:
    """Lines a pixel wide (0 or 255) as polylines, N×2 (x, y): ends first, then what is closed."""
    left = {(int(y), int(x)) for y, x in np.argwhere(edges)}
    ends = sorted(pixel for pixel in left if len(_next_to(pixel, left)) == 1)
    for first in (*ends, *sorted(left)):
        if first not in left:
            continue
        line = _followed(first, left)
        if len(line) >= _SHORTEST:
            if _touch(line[0], line[-1]):
                line.append(line[0])
            points = np.array([(x, y) for y, x in line], np.int32)
            yield cv2.approxPolyDP(points, _SIMPLER, closed=False)[:, 0].astype(np.uint8)


def _followed(pixel: tuple[int, int], left: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """The line from a pixel on, taken out of what is ``left``."""
    line = [pixel]
    left.discard(pixel)
    while ways := _next_to(line[-1], left):
        line.append(ways[0])
        left.discard(ways[0])
    return line


def _next_to(pixel: tuple[int, int], left: set[tuple[int, int]]) -> list[tuple[int, int]]:
    return [near for dy, dx in _AROUND if (near := (pixel[0] + dy, pixel[1] + dx)) in left]


def _touch(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) == 1
