"""Drawn people in front of drawn rooms: what a webcam sees most, without a photograph of anyone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]


def plain_ground(size: int, rng: np.random.Generator) -> Picture:
    """A size×size wall with a smooth gradient and, half the time, the upright shapes of a room."""
    top, bottom = rng.uniform(30, 235, (2, 1, 3))
    ramp = np.linspace(0, 1, size)[:, None, None]
    ground = np.ascontiguousarray(np.broadcast_to(top * (1 - ramp) + bottom * ramp, (size, size, 3)).astype(np.uint8))
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 6))):
            corner = rng.integers(-20, size, 2)
            far = corner + rng.integers(15, size // 2, 2)
            cv2.rectangle(ground, corner.tolist(), far.tolist(), _colour(rng), -1 if rng.random() < 0.7 else 3)
    return ground


def portrait(ground: Picture, rng: np.random.Generator) -> Picture:
    """One drawn person over ``ground``: shoulders, hair, face with shading; at any place and size a webcam shows."""
    size = ground.shape[0]
    fine = cv2.resize(ground, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    unit = float(rng.uniform(0.6, 1.6)) * size * 0.42
    centre = np.array([rng.uniform(0.3, 0.7), rng.uniform(0.35, 0.55)]) * 2 * size
    skin = np.array([rng.uniform(90, 250), 0, 0])
    skin[1], skin[2] = skin[0] * rng.uniform(0.68, 0.85), skin[0] * rng.uniform(0.5, 0.75)
    tone: Colour = (int(skin[0]), int(skin[1]), int(skin[2]))
    _body(fine, centre, unit, tone, rng)
    _head(fine, centre, unit, tone, rng)
    _features(fine, centre, unit, tone, rng)
    return cv2.resize(_shade(fine, centre, unit, rng), (size, size), interpolation=cv2.INTER_AREA)


def _colour(rng: np.random.Generator) -> Colour:
    red, green, blue = rng.integers(10, 245, 3).tolist()
    return red, green, blue


def _darker(colour: Colour, factor: float) -> Colour:
    return int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor)


def _oval(
    picture: Picture, centre: NDArray[np.float64], axes: tuple[float, float], colour: Colour, fill: int = -1
) -> None:
    place = (int(centre[0]), int(centre[1]))
    cv2.ellipse(picture, place, (max(1, int(axes[0])), max(1, int(axes[1]))), 0, 0, 360, colour, fill, cv2.LINE_AA)


def _body(picture: Picture, centre: NDArray[np.float64], unit: float, skin: Colour, rng: np.random.Generator) -> None:
    shirt = _colour(rng)
    _oval(picture, centre + (0, 2.3 * unit), (1.6 * unit, 1.2 * unit), shirt)
    neck = centre + (0, unit)
    _oval(picture, neck, (0.36 * unit, 0.6 * unit), _darker(skin, 0.85))
    if rng.random() < 0.6:
        collar = [neck + (-0.5 * unit, 0.2 * unit), neck + (0, 0.9 * unit), neck + (0.5 * unit, 0.2 * unit)]
        cv2.polylines(picture, [np.array(collar, np.int32)], False, _darker(shirt, 0.5), max(2, int(unit / 14)))


def _head(picture: Picture, centre: NDArray[np.float64], unit: float, skin: Colour, rng: np.random.Generator) -> None:
    hair, fullness = _colour(rng), float(rng.uniform(1.0, 1.3))
    if rng.random() < 0.85:
        length = float(rng.uniform(0.95, 1.7))
        _oval(picture, centre + (0, (length - 1.25) * unit), (0.78 * fullness * unit, length * unit), hair)
    for side in (-1, 1):
        _oval(picture, centre + (side * 0.72 * unit, 0.05 * unit), (0.14 * unit, 0.24 * unit), _darker(skin, 0.9))
    _oval(picture, centre, (0.72 * unit, 0.98 * unit), skin)
    fringe = centre + (rng.uniform(-0.2, 0.2) * unit, -0.85 * unit)
    _oval(picture, fringe, (0.62 * unit, rng.uniform(0.15, 0.5) * unit), hair)


def _features(
    picture: Picture, centre: NDArray[np.float64], unit: float, skin: Colour, rng: np.random.Generator
) -> None:
    turn, line = rng.uniform(-0.2, 0.2) * unit, max(2, int(unit / 18))
    dark, glasses = _darker(skin, 0.35), rng.random() < 0.4
    for side in (-1, 1):
        eye = centre + (turn + side * 0.3 * unit, -0.1 * unit)
        _oval(picture, eye, (0.16 * unit, rng.uniform(0.06, 0.1) * unit), (240, 240, 238))
        _oval(picture, eye, (0.07 * unit, 0.07 * unit), (30, 25, 20))
        _oval(picture, eye - (0, 0.2 * unit), (0.2 * unit, 0.035 * unit), dark)
        if glasses:
            _oval(picture, eye, (0.25 * unit, 0.2 * unit), (25, 25, 30), line)
    nose = np.array([centre + (turn, 0), centre + (turn * 1.6, 0.26 * unit), centre + (turn, 0.28 * unit)], np.int32)
    cv2.polylines(picture, [nose], False, _darker(skin, 0.7), line, cv2.LINE_AA)
    mouth = centre + (turn, 0.52 * unit)
    _oval(picture, mouth, (rng.uniform(0.18, 0.32) * unit, rng.uniform(0.03, 0.12) * unit), (150, 60, 60))


def _shade(picture: Picture, centre: NDArray[np.float64], unit: float, rng: np.random.Generator) -> Picture:
    """Light from one side, so that flat shapes get the weak inner gradients of real ones."""
    across = (np.arange(picture.shape[1], dtype=np.float32) - centre[0]) / (2 * unit)
    light = 1 + float(rng.uniform(-0.35, 0.35)) * np.tanh(across)[None, :, None]
    return np.clip(picture * light, 0, 255).astype(np.uint8)
