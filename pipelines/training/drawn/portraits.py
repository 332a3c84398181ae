"""Drawn people in front of drawn rooms: what a webcam sees most, without a photograph of anyone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.training.drawn.rooms import Colour, Picture, any_colour, darker

Place = NDArray[np.float64]  # x, y

_HAIR: tuple[Colour, ...] = ((28, 22, 20), (58, 40, 28), (96, 62, 36), (150, 104, 60), (206, 170, 110), (150, 148, 146))


@dataclass(frozen=True, kw_only=True)
class _Sitter:
    """Who is drawn: ``centre`` of the face, ``unit`` about its half height in pixels, ``turn``: aside, in pixels."""

    centre: Place
    unit: float
    turn: float
    skin: Colour
    hair: Colour
    shirt: Colour

    def at(self, right: float, down: float) -> Place:
        """A place of the face, in units from its centre; what is in its middle moves as the head turns."""
        return self.centre + np.array([right * self.unit + self.turn * max(0.0, 1 - abs(right)), down * self.unit])

    def width(self, part: float) -> int:
        """Pixels of a line as wide as such a part of a unit."""
        return max(1, int(self.unit * part))


def portrait(ground: Picture, rng: np.random.Generator) -> Picture:
    """One drawn person over ``ground``: shoulders, hair, face with shading; at any place and size a webcam shows."""
    size = ground.shape[0]
    fine = cv2.resize(ground, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    sitter = _sitter(size, rng)
    _body(fine, sitter, rng)
    _hair_behind(fine, sitter, rng)
    _head(fine, sitter, rng)
    _eyes(fine, sitter, rng)
    _nose_and_mouth(fine, sitter, rng)
    _hair_before(fine, sitter, rng)
    if rng.random() < 0.2:
        _headphones(fine, sitter, rng)
    return cv2.resize(_shade(fine, sitter, rng), (size, size), interpolation=cv2.INTER_AREA)


def _sitter(size: int, rng: np.random.Generator) -> _Sitter:
    red = rng.uniform(100, 250)
    unit = float(rng.uniform(0.6, 1.5)) * size * 0.42
    return _Sitter(
        centre=np.array([rng.uniform(0.3, 0.7), rng.uniform(0.36, 0.52)]) * 2 * size,
        unit=unit,
        turn=float(rng.uniform(-0.2, 0.2)) * unit,
        skin=(int(red), int(red * rng.uniform(0.70, 0.85)), int(red * rng.uniform(0.54, 0.75))),
        hair=_HAIR[rng.integers(len(_HAIR))] if rng.random() < 0.8 else any_colour(rng),
        shirt=any_colour(rng),
    )


def _fill(picture: Picture, outline: NDArray[np.float64], colour: Colour) -> None:
    cv2.fillPoly(picture, [np.rint(outline).astype(np.int32)], colour, cv2.LINE_AA)


def _line(picture: Picture, places: NDArray[np.float64], colour: Colour, width: int) -> None:
    cv2.polylines(picture, [np.rint(places).astype(np.int32)], False, colour, width, cv2.LINE_AA)


def _oval(picture: Picture, centre: Place, axes: tuple[float, float], colour: Colour, fill: int = -1) -> None:
    place = (int(centre[0]), int(centre[1]))
    cv2.ellipse(picture, place, (max(1, int(axes[0])), max(1, int(axes[1]))), 0, 0, 360, colour, fill, cv2.LINE_AA)


def _arc(start: Place, middle: Place, end: Place) -> NDArray[np.float64]:
    """A curve from start to end drawn towards the middle (quadratic Bézier)."""
    along = np.linspace(0, 1, 24)[:, None]
    return (1 - along) ** 2 * start + 2 * along * (1 - along) * middle + along**2 * end


def _face(sitter: _Sitter, narrow: float, grown: float = 1.0) -> NDArray[np.float64]:
    """The head's outline: an oval that narrows towards the chin."""
    angle = np.linspace(0, 2 * np.pi, 80)
    across, down = np.sin(angle), -np.cos(angle)
    across = across * (1 - narrow * np.clip(down, 0, 1) ** 2)
    return sitter.centre + np.stack([across * 0.72, down * 0.98], -1) * sitter.unit * grown


def _body(picture: Picture, sitter: _Sitter, rng: np.random.Generator) -> None:
    broad, drop = float(rng.uniform(1.4, 1.9)), float(rng.uniform(1.35, 1.6))
    low = max(3.6, (picture.shape[0] - sitter.centre[1]) / sitter.unit + 0.2)  # below the picture's border
    left = _arc(sitter.at(-0.35, 1.1), sitter.at(-broad, drop - 0.1), sitter.at(-broad, low))
    right = _arc(sitter.at(broad, low), sitter.at(broad, drop - 0.1), sitter.at(0.35, 1.1))
    _fill(picture, np.concatenate([left, right]), sitter.shirt)
    fold = darker(sitter.shirt, 0.72)
    for side in (-1, 1):
        armpit = sitter.at(side * broad * 0.68, 2.0)
        _line(picture, _arc(armpit, armpit + (0, 0.6 * sitter.unit), sitter.at(side * broad * 0.75, 3.4)), fold, 3)
        _line(picture, _arc(armpit, sitter.at(side * 0.7, 2.2), sitter.at(side * 0.4, rng.uniform(2, 3))), fold, 2)
    neck = darker(sitter.skin, 0.86)
    _fill(picture, np.array([sitter.at(x, y) for x, y in ((-0.36, 0.6), (0.36, 0.6), (0.42, 1.4), (-0.42, 1.4))]), neck)
    deep = float(rng.uniform(1.45, 1.9))
    collar = _arc(sitter.at(-0.5, 1.18), sitter.at(0, deep), sitter.at(0.5, 1.18))
    _fill(picture, collar, neck)
    _line(picture, collar, darker(sitter.shirt, 0.55), sitter.width(rng.uniform(0.03, 0.12)))
    if rng.random() < 0.4:
        _line(picture, np.array([collar[12], sitter.at(0, low)]), darker(sitter.shirt, 0.5), sitter.width(0.04))


def _hair_behind(picture: Picture, sitter: _Sitter, rng: np.random.Generator) -> None:
    if rng.random() < 0.12:  # bald or shaven
        return
    long = rng.random() < 0.45
    _oval(picture, sitter.at(0, -0.25), (0.86 * sitter.unit, 0.92 * sitter.unit), sitter.hair)
    if long:
        end, wide = float(rng.uniform(0.7, 1.9)), float(rng.uniform(0.75, 1.0))
        for side in (-1, 1):
            corners = ((0.3, -0.4), (0.84, -0.4), (wide, end), (0.5, end + 0.12), (0.34, end - 0.1))
            _fill(picture, np.array([sitter.at(side * x, y) for x, y in corners]), sitter.hair)
    for _ in range(int(rng.integers(3, 12))):
        side = rng.choice([-1, 1]) * rng.uniform(0.3, 0.8)
        strand = _arc(sitter.at(side * 0.6, -0.95), sitter.at(side * 1.1, -0.5), sitter.at(side, 0.9 if long else -0.1))
        _line(picture, strand, darker(sitter.hair, rng.uniform(0.6, 1.5)), sitter.width(0.03))


def _head(picture: Picture, sitter: _Sitter, rng: np.random.Generator) -> None:
    for side in (-1, 1):
        ear = sitter.centre + (side * 0.72 * sitter.unit, 0.05 * sitter.unit)
        _oval(picture, ear, (0.13 * sitter.unit, 0.22 * sitter.unit), darker(sitter.skin, 0.88))
    narrow = float(rng.uniform(0.25, 0.5))
    _fill(picture, _face(sitter, narrow), sitter.skin)
    if rng.random() < 0.25:  # a beard: the lower face again, in hair
        lower = _face(sitter, narrow, 1.02)
        _fill(picture, lower[lower[:, 1] > sitter.at(0, rng.uniform(0.15, 0.45))[1]], darker(sitter.hair, 1.15))


def _eyes(picture: Picture, sitter: _Sitter, rng: np.random.Generator) -> None:
    glasses, wide, open_ = rng.random() < 0.35, float(rng.uniform(0.13, 0.18)), float(rng.uniform(0.05, 0.09))
    brow, iris = float(rng.uniform(0.03, 0.08)), ((70, 50, 35), (60, 90, 120), (70, 100, 60))[rng.integers(3)]
    unit, dark = sitter.unit, darker(sitter.skin, 0.35)
    for side in (-1, 1):
        eye = sitter.at(side * 0.3, -0.1)
        _oval(picture, eye, (wide * unit, open_ * unit), (240, 240, 238))
        _oval(picture, eye, (min(open_, 0.08) * unit, min(open_, 0.08) * unit), iris)
        _oval(picture, eye, (0.035 * unit, 0.035 * unit), (15, 12, 10))
        lid = _arc(eye - (wide * unit, 0), eye - (0, 2 * open_ * unit), eye + (wide * unit, 0))
        _line(picture, lid, dark, sitter.width(0.035))
        over = eye - (0, rng.uniform(0.18, 0.24) * unit)
        arched = _arc(over - (0.2 * unit, 0), over - (0, 0.1 * unit), over + (0.2 * unit, 0))
        _line(picture, arched, darker(sitter.hair, 0.8), sitter.width(brow))
        if glasses:
            _oval(picture, eye, (0.25 * unit, 0.2 * unit), (25, 25, 30), sitter.width(0.045))
            _line(picture, np.array([eye + (side * 0.25 * unit, 0), sitter.at(side * 0.7, -0.12)]), (25, 25, 30), 3)
    if glasses:
        _line(picture, np.array([sitter.at(-0.06, -0.1), sitter.at(0.06, -0.1)]), (25, 25, 30), sitter.width(0.045))


def _nose_and_mouth(picture: Picture, sitter: _Sitter, rng: np.random.Generator) -> None:
    shade, lips = darker(sitter.skin, 0.7), (int(rng.uniform(120, 200)), 70, 75)
    aside = 0.08 * (1 if sitter.turn >= 0 else -1)
    _line(picture, _arc(sitter.at(aside * 0.5, -0.05), sitter.at(aside, 0.2), sitter.at(aside * 1.6, 0.24)), shade, 3)
    _line(picture, _arc(sitter.at(-0.11, 0.28), sitter.at(0, 0.34), sitter.at(0.11, 0.28)), shade, sitter.width(0.04))
    wide, smile = float(rng.uniform(0.2, 0.32)), float(rng.uniform(-0.04, 0.14))
    left, right = sitter.at(-wide, 0.55 - smile / 2), sitter.at(wide, 0.55 - smile / 2)
    parted, full = float(rng.uniform(0, 0.12)) if rng.random() < 0.4 else 0.0, float(rng.uniform(0.08, 0.2))
    upper = _arc(left, sitter.at(0, 0.53 - full + smile), right)
    lower = _arc(right, sitter.at(0, 0.58 + full + smile + 2 * parted), left)
    _fill(picture, np.concatenate([upper, lower]), lips)
    between = _arc(left, sitter.at(0, 0.55 + smile), right)
    if parted:
        _fill(
            picture, np.concatenate([between, _arc(right, sitter.at(0, 0.55 + smile + 2 * parted), left)]), (235,) * 3
        )
    _line(picture, between, darker((lips[0], lips[1], lips[2]), 0.5), sitter.width(0.025))


def _hair_before(picture: Picture, sitter: _Sitter, rng: np.random.Generator) -> None:
    if rng.random() < 0.3:
        return
    parting, low = float(rng.uniform(-0.4, 0.4)), float(rng.uniform(-0.75, -0.35))
    top = _arc(sitter.at(-0.76, -0.2), sitter.at(0, -1.9), sitter.at(0.76, -0.2))
    right = _arc(sitter.at(0.70, -0.25), sitter.at(0.5, low), sitter.at(parting, low - 0.2))
    left = _arc(sitter.at(parting, low - 0.2), sitter.at(-0.5, low), sitter.at(-0.70, -0.25))
    _fill(picture, np.concatenate([top, right, left]), sitter.hair)
    for _ in range(int(rng.integers(2, 8))):
        start = sitter.at(parting + rng.normal(0, 0.1), -1.0)
        end = sitter.at(rng.uniform(-0.65, 0.65), low + rng.uniform(-0.15, 0.05))
        _line(picture, _arc(start, (start + end) / 2 + (0, -0.1 * sitter.unit), end), darker(sitter.hair, 1.4), 2)


def _headphones(picture: Picture, sitter: _Sitter, rng: np.random.Generator) -> None:
    colour = any_colour(rng)
    band = _arc(sitter.at(-0.82, -0.05), sitter.at(0, -2.35), sitter.at(0.82, -0.05))
    _line(picture, band, colour, sitter.width(0.12))
    for side in (-1, 1):
        cup = sitter.centre + (side * 0.82 * sitter.unit, 0.05 * sitter.unit)
        _oval(picture, cup, (0.16 * sitter.unit, 0.3 * sitter.unit), darker(colour, 0.7))


def _shade(picture: Picture, sitter: _Sitter, rng: np.random.Generator) -> Picture:
    """Light from one side, and a lamp or two, so that flat shapes get the weak inner gradients of real ones."""
    across = (np.arange(picture.shape[1], dtype=np.float32) - sitter.centre[0]) / (2 * sitter.unit)
    light = 1 + float(rng.uniform(-0.35, 0.35)) * np.tanh(across)[None, :, None]
    glow = rng.normal(1, 0.12, (5, 5, 1)).astype(np.float32)
    glow = cv2.resize(glow, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(picture * (light * glow), 0, 255).astype(np.uint8)
