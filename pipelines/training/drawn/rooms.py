"""Drawn walls and rooms behind what is shown."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]


def any_colour(rng: np.random.Generator) -> Colour:
    """Neither black nor white; most of them muted, as things in rooms are."""
    levels = rng.integers(10, 245, 3)
    red, green, blue = (levels + (levels.mean() - levels) * rng.uniform(0, 0.8)).astype(int).tolist()
    return red, green, blue


def darker(colour: Colour, factor: float) -> Colour:
    """A colour's levels times ``factor``; above 1 it is lighter."""
    red, green, blue = (min(255, int(level * factor)) for level in colour)
    return red, green, blue


def plain_ground(size: int, rng: np.random.Generator) -> Picture:
    """A size×size wall with a smooth gradient and, half the time, the upright shapes of a room."""
    top, bottom = (np.array(any_colour(rng)) for _ in range(2))
    ramp = np.linspace(0, 1, size)[:, None, None]
    ground = np.ascontiguousarray(np.broadcast_to(top * (1 - ramp) + bottom * ramp, (size, size, 3)).astype(np.uint8))
    draw = rng.random()
    if draw < 0.3:
        for _ in range(int(rng.integers(1, 6))):
            corner = rng.integers(-20, size, 2)
            far = corner + rng.integers(15, size // 2, 2)
            cv2.rectangle(ground, corner.tolist(), far.tolist(), any_colour(rng), -1 if rng.random() < 0.7 else 3)
    elif draw < 0.7:
        _furnish(ground, rng)
    return ground


def _furnish(ground: Picture, rng: np.random.Generator) -> None:
    """A shelf of books, a window, a picture on the wall: some of them, sometimes out of focus."""
    for furniture in (_shelf, _window, _frame):
        if rng.random() < 0.55:
            furniture(ground, rng)
    if rng.random() < 0.4:
        cv2.GaussianBlur(ground, (0, 0), float(rng.uniform(1, 4)), dst=ground)


def _shelf(ground: Picture, rng: np.random.Generator) -> None:
    size = ground.shape[0]
    left, width = int(rng.integers(-40, size // 2)), int(rng.integers(size // 4, size))
    for base in range(int(rng.integers(40, 80)), size, int(rng.integers(50, 90))):
        place = left
        while place < left + width:
            wide, high = int(rng.integers(4, 14)), int(rng.integers(20, 38))
            cv2.rectangle(ground, (place, base - high), (place + wide, base), any_colour(rng), -1)
            place += wide + (int(rng.integers(5, 30)) if rng.random() < 0.15 else 1)
        cv2.rectangle(ground, (left - 5, base), (left + width + 5, base + 4), (96, 70, 48), -1)


def _window(ground: Picture, rng: np.random.Generator) -> None:
    size = ground.shape[0]
    left, top = (int(place) for place in rng.integers(-20, size // 2, 2))
    wide, high = (int(side) for side in rng.integers(50, 120, 2))
    cv2.rectangle(ground, (left, top), (left + wide, top + high), (205, 225, 240), -1)
    bar = (235, 232, 225) if rng.random() < 0.6 else (70, 60, 50)
    cv2.rectangle(ground, (left, top), (left + wide, top + high), bar, 5)
    cv2.line(ground, (left + wide // 2, top), (left + wide // 2, top + high), bar, 4)
    cv2.line(ground, (left, top + high // 2), (left + wide, top + high // 2), bar, 4)


def _frame(ground: Picture, rng: np.random.Generator) -> None:
    size = ground.shape[0]
    left, top = (int(place) for place in rng.integers(0, size - 40, 2))
    wide, high = (int(side) for side in rng.integers(30, 90, 2))
    cv2.rectangle(ground, (left, top), (left + wide, top + high), any_colour(rng), -1)
    cv2.circle(ground, (left + wide // 2, top + high // 2), min(wide, high) // 3, any_colour(rng), -1, cv2.LINE_AA)
    cv2.rectangle(ground, (left, top), (left + wide, top + high), any_colour(rng), 4)
