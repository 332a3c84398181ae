"""Motion: where each pixel of a camera picture was in the one before it, and how far that is to be trusted.

Dense inverse search (Kroeger et al., arXiv 1603.03590; OpenCV's DIS). Sensor noise makes a flow tremble where nothing
moves, so what standing still explains as well stands still. A flow is trusted where the picture before, carried along
it, looks like this one but for the noise: not in what was uncovered, nor across a cut. And not along the border between
things that move differently: what is painted there, an outline, belongs to one of them and reaches over to the other,
on which it would stay behind.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Field = NDArray[np.float32]
Values = TypeVar("Values", Grey, Field)

#: Flow is looked for at sides of about this many pixels at most: quick enough for each frame of a live stream.
_SIDE = 256
#: DIS takes patches of 8 pixels in a pyramid: in smaller pictures than this it finds none.
_LEAST_SIDE = 32
#: Differences of pictures are means over so many pixels in a square.
_WINDOW = 5
#: Grey levels that are taken for noise at most, of those that half of the picture stays under.
_MOST_NOISE = 6.0
#: Of the noise so many times, and so many grey levels more: a picture that differs by less everywhere stands still.
_STILL, _STILL_LEVELS = 2.0, 2.0
#: Grey levels, and of the gradient (levels a pixel) the part, by which a carried picture may be off: its flow is good
#: to a fraction of a pixel, and carrying it blurs it.
_LEVELS, _OF_GRADIENT = 8.0, 0.15
#: An outline is painted a few pixels to either side of the edge that it follows: as far as that, pixels go together.
_REACH = 13
#: Pixels by which flows within reach of each other may differ to be trusted in full, and at all.
_AGREE, _PART = 0.4, 1.0
_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_REACH, _REACH))
_SQUARE = np.ones((_REACH, _REACH), np.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Motion:
    """Between two pictures of H×W. ``there``: float32 H×W×2, the x and y that each pixel had in the picture before;
    None where nothing has moved at all. ``trust``: float32 H×W, 0 where that is unknown to 1 where it is sure."""

    there: Field | None
    trust: Field


class MotionFinder:
    """Compares pictures of one stream; ``DISOpticalFlow`` keeps its buffers, so each stream has its own."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(self, before: Grey, now: Grey) -> Motion:
        """From ``before`` to ``now``, uint8 H×W each."""
        height, width = now.shape
        shrink = max(1.0, min(height, width) / _SIDE)
        size = (round(width / shrink), round(height / shrink))
        first, second = (_resized(each, size) for each in (before, now))
        unmoved = _difference(first, second)
        noise = min(_MOST_NOISE, float(np.median(unmoved[::4, ::4])))
        if float(unmoved.max()) <= _STILL * noise + _STILL_LEVELS:
            return Motion(there=None, trust=np.ones((height, width), np.float32))
        if min(size) < _LEAST_SIDE:
            return Motion(there=None, trust=_likeness(unmoved, second))
        flow, trust = self._find(first, second, unmoved)
        flow = _resized(flow, (width, height)) * np.array([width / size[0], height / size[1]], np.float32)
        return Motion(there=_grid(height, width) + flow, trust=_resized(trust, (width, height)))

    def _find(self, first: Grey, second: Grey, unmoved: Field) -> tuple[Field, Field]:
        """The flow back from ``second``, and its trust."""
        flow = _steadied(self._dis.calc(second, first, None), first, second, unmoved)
        there = _grid(*second.shape) + flow
        like = _likeness(_difference(_carried(first, there), second), second)
        return flow, like * _together(flow) * _inside(there)


def carry(picture: Field, there: Field) -> Field:
    """float32 H×W or H×W×C, each pixel taken from where it was.

    The mean of linear and cubic: carried often, a line by the first melts away, by the second it trembles.
    """
    soft, sharp = (
        cv2.remap(picture, there, None, kernel, borderMode=cv2.BORDER_REPLICATE)
        for kernel in (cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    )
    return np.asarray(0.5 * (soft + sharp), np.float32)


def _steadied(flow: Field, before: Grey, now: Grey, unmoved: Field) -> Field:
    """The flow back from ``now``, but 0 where standing still explains the picture as well, out of reach of what moves.

    ``unmoved``: how the two differ as they are.
    """
    moved = _difference(_carried(before, _grid(*now.shape) + flow), now)
    still = cv2.blur((unmoved <= 1.1 * moved + 0.5).astype(np.float32), (9, 9))
    moves = cv2.blur(cv2.dilate(np.clip(1.5 - 2 * still, 0, 1), _DISC), (_WINDOW, _WINDOW))
    return np.asarray(flow * cv2.merge([moves, moves]), np.float32)


def _together(flow: Field) -> Field:
    """1 where all that is within reach moves alike, falling to 0."""
    spread = [cv2.dilate(each, _SQUARE) - cv2.erode(each, _SQUARE) for each in cv2.split(flow)]
    return np.asarray(np.clip((_PART - cv2.max(*spread)) / (_PART - _AGREE), 0, 1), np.float32)


def _inside(there: Field) -> NDArray[np.bool_]:
    x, y = cv2.split(there)
    height, width = x.shape
    return np.asarray((x >= -0.5) & (y >= -0.5) & (x <= width - 0.5) & (y <= height - 0.5))


def _likeness(difference: Field, now: Grey) -> Field:
    """1 where a difference is no more than noise and a flow's own inaccuracy explain, falling to 0."""
    noise = min(_MOST_NOISE, float(np.median(difference[::4, ::4])))
    slope = cv2.magnitude(*(cv2.Sobel(now, cv2.CV_32F, *way, scale=0.25) for way in ((1, 0), (0, 1))))
    allowed = _LEVELS + _OF_GRADIENT * cv2.blur(slope, (_WINDOW, _WINDOW))
    beyond = np.maximum(difference - np.float32(1.5 * noise), 0) / allowed
    return np.asarray(cv2.exp(-beyond * beyond), np.float32)


def _difference(one: Grey, other: Grey) -> Field:
    return np.asarray(cv2.blur(cv2.absdiff(one, other).astype(np.float32), (_WINDOW, _WINDOW)), np.float32)


def _carried(grey: Grey, there: Field) -> Grey:
    return np.asarray(cv2.remap(grey, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _resized(field: Values, size: tuple[int, int]) -> Values:
    """To (width, height)."""
    if field.shape[1::-1] == size:
        return field
    way = cv2.INTER_AREA if size[0] < field.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(field, size, interpolation=way), field.dtype)


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> Field:
    """The x and y of each pixel, H×W×2; read-only."""
    grid = np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), -1)
    grid.flags.writeable = False
    return grid
