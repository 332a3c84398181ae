"""A small drawn world: one big flat shape on a plain ground, with a caption. No files; for CI and ablations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]

COUNT = 20_000
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (222, 38, 42),
    "orange": (250, 146, 30),
    "yellow": (250, 220, 50),
    "green": (40, 160, 72),
    "blue": (40, 90, 220),
    "purple": (140, 52, 176),
    "white": (244, 244, 240),
    "black": (24, 24, 28),
}
GROUNDS = ("white", "black", "yellow", "green", "blue")
_FINE = 4  # drawn so many times larger, then shrunk: smooth borders


class Shapes:
    """A source (see ``dataset``): picture ``index`` is always the same, whatever else was asked for."""

    group = 1
    skipped: Mapping[str, str] = {}

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._chosen = [_KINDS[number] for number in np.random.default_rng(5).integers(0, len(_KINDS), COUNT)]
        self.prompts = [_caption(*chosen) for chosen in self._chosen]
        self.names = [f"shape {index}" for index in range(COUNT)]

    def read(self, index: int) -> Picture:
        """uint8 H×W×3 RGB."""
        form, colour, ground = self._chosen[index]
        height, width = self._size
        rng = np.random.default_rng((5, index))
        unit = _FINE * min(height, width)
        centre = np.array([width, height]) * _FINE / 2 + rng.uniform(-0.11, 0.11, 2) * unit
        outlines = FORMS[form](rng.uniform(0.23, 0.31) * unit, rng.normal(0, 0.12))
        picture = np.full((height * _FINE, width * _FINE, 3), COLOURS[ground], np.uint8)
        cv2.fillPoly(picture, [np.rint(each + centre).astype(np.int32) for each in outlines], COLOURS[colour])
        return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _caption(form: str, colour: str, ground: str) -> str:
    article = "an" if colour[0] in "aeiou" else "a"
    return f"{article} {colour} {form} on a {ground} ground"


def _around(count: int, radii: tuple[float, ...], turn: float) -> Points:
    """A closed outline: ``count`` points around the origin, at ``radii`` in turn, the first straight up."""
    angles = turn + 2 * np.pi * np.arange(count) / count
    lengths = np.resize(radii, count)
    return np.stack([np.sin(angles), -np.cos(angles)], 1) * lengths[:, None]


def _circle(radius: float, turn: float) -> list[Points]:
    return [_around(64, (radius,), turn)]


def _square(radius: float, turn: float) -> list[Points]:
    return [_around(4, (1.25 * radius,), turn + np.pi / 4)]


def _triangle(radius: float, turn: float) -> list[Points]:
    return [_around(3, (1.3 * radius,), turn)]


def _star(radius: float, turn: float) -> list[Points]:
    return [_around(10, (1.3 * radius, 0.52 * radius), turn)]


def _cross(radius: float, turn: float) -> list[Points]:
    arm = 0.36 * radius
    far = np.hypot(1.15 * radius, arm)
    aside = np.arctan2(arm, 1.15 * radius)
    angles = turn + np.pi / 2 * np.repeat(np.arange(4), 3) + np.tile([-aside, aside, np.pi / 4], 4)
    lengths = np.tile([far, far, arm * np.sqrt(2)], 4)
    return [np.stack([np.sin(angles), -np.cos(angles)], 1) * lengths[:, None]]


def _ring(radius: float, turn: float) -> list[Points]:
    return [_around(64, (1.1 * radius,), turn), _around(64, (0.58 * radius,), turn)]  # the inner one is a hole


FORMS: Mapping[str, Callable[[float, float], list[Points]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}
_KINDS = [(form, colour, ground) for form in FORMS for colour in COLOURS for ground in GROUNDS if colour != ground]
