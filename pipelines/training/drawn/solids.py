"""Solids and seated people, ray cast on a floor before a wall: scenes whose depth is known, not guessed.

The maps look like an estimator's (MiDaS, arXiv 1907.01341: relative inverse depth, near is white, edges soft) without
being one's: no photograph's depth is known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.training.drawn.rooms import any_colour

Plane = NDArray[np.float32]  # H×W
Point = NDArray[np.float32]  # x to the right, y down, z ahead of the camera; metres

_NOWHERE = np.float32(np.inf)
_NEAREST = np.float32(0.1)  # metres; what is nearer is behind the camera's front
_JUMP = (40, 80)  # Canny's thresholds: from a jump of twenty grey levels on there is a line


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """``picture``: uint8 H×W×3 RGB. ``depth``: the map, uint8 H×W, near is white. ``lines``: where depth jumps, uint8
    H×W, 0 or 255."""

    picture: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    lines: NDArray[np.uint8]


def render(size: int, rng: np.random.Generator) -> Rendered:
    """A size×size view of a scene of its own."""
    rays = _rays(size, rng)
    away = np.full((size, size), rng.uniform(2.5, 12), np.float32)  # the wall
    colours = np.empty((size, size, 3), np.float32)
    colours[:] = any_colour(rng)
    for hit in _people(rays, rng) if rng.random() < 0.5 else _things(rays, rng):
        nearer = hit < away
        away = np.where(nearer, hit, away)
        colours[nearer] = any_colour(rng)
    nearness = 1 / away
    relative = (nearness - nearness.min()) / max(float(np.ptp(nearness)), 1e-6)
    exact = np.rint(255 * relative).astype(np.uint8)
    light = cv2.resize(rng.normal(1, 0.15, (4, 4)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return Rendered(
        picture=np.clip(colours * light[..., None], 0, 255).astype(np.uint8),
        depth=_estimated(relative, rng),
        lines=np.asarray(cv2.Canny(exact, *_JUMP), np.uint8),
    )


def _estimated(relative: Plane, rng: np.random.Generator) -> NDArray[np.uint8]:
    """As a network would have it: soft at the edges, somewhat wrong everywhere, its greys bent."""
    seen = relative ** np.float32(rng.uniform(0.6, 1.4))
    if rng.random() < 0.8:
        seen = cv2.GaussianBlur(seen, (0, 0), float(rng.uniform(0.4, 2.2)))
    wrong = rng.normal(0, rng.uniform(0, 0.03), (8, 8)).astype(np.float32)
    seen = seen + cv2.resize(wrong, seen.shape[::-1], interpolation=cv2.INTER_CUBIC)
    seen = (seen - seen.min()) / max(float(np.ptp(seen)), 1e-6)
    return np.rint(255 * seen).astype(np.uint8)


def _rays(size: int, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """x and y of each pixel's ray at z = 1: a camera's view of 40° to 70°, tilted a little."""
    places = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    wide = np.float32(rng.uniform(0.36, 0.70))
    x, y = np.meshgrid(places * wide, places * wide)
    return x, y + np.float32(rng.uniform(-0.25, 0.35) * wide)


def _things(rays: tuple[Plane, Plane], rng: np.random.Generator) -> Iterator[Plane]:
    floor = float(rng.uniform(0.7, 1.6))
    yield np.where(rays[1] > 1e-3, floor / np.maximum(rays[1], 1e-3), _NOWHERE)
    for _ in range(int(rng.integers(2, 8))):
        z = float(rng.uniform(1.6, 6))
        half = rng.uniform(0.08, 0.5, 3).astype(np.float32)
        middle = np.array([rng.uniform(-0.6, 0.6) * z, floor - half[1], z], np.float32)
        if rng.random() < 0.15:
            middle[1] -= np.float32(rng.uniform(0, 1))  # in the air
        shape = rng.integers(3)
        if shape == 0:
            yield _ellipsoid(rays, middle, half)
        elif shape == 1:
            yield _box(rays, middle, half, float(rng.uniform(0, np.pi)))
        else:
            yield _cylinder(rays, middle, float(half[0]), float(half[1]))


def _people(rays: tuple[Plane, Plane], rng: np.random.Generator) -> Iterator[Plane]:
    """One or two before the camera: shoulders, neck, head, hair, a nose; sometimes a raised hand; things behind."""
    if rng.random() < 0.6:
        yield from _things(rays, rng)
    for _ in range(1 + int(rng.random() < 0.2)):
        z = float(rng.uniform(0.55, 1.5))
        head = np.array([rng.uniform(-0.3, 0.3) * z, rng.uniform(-0.25, 0.1) * z, z], np.float32)
        broad = float(rng.uniform(0.9, 1.25))

        def part(x: float, y: float, ahead: float, *radii: float, head: Point = head, broad: float = broad) -> Plane:
            middle = head + np.array([x, y, -ahead], np.float32)
            return _ellipsoid(rays, middle, np.array(radii, np.float32) * np.float32(broad))

        yield part(0, 0.50, -0.06, 0.25, 0.26, 0.14)
        yield _cylinder(rays, head + np.array([0, 0.18, 0.02], np.float32), 0.06 * broad, 0.12)
        yield part(0, 0, 0, 0.085, 0.125, 0.10)
        yield part(0, 0.015, 0.10 * broad, 0.016, 0.03, 0.02)
        if rng.random() < 0.8:
            yield part(0, -0.04, -0.03, 0.10, 0.125, 0.10)
        if rng.random() < 0.25:
            side = float(rng.choice([-1, 1]))
            yield part(side * rng.uniform(0.15, 0.3), float(rng.uniform(0, 0.2)), 0.15, 0.05, 0.09, 0.03)


def _ellipsoid(rays: tuple[Plane, Plane], middle: Point, radii: Point) -> Plane:
    """z of the nearest hit, H×W; infinite where there is none."""
    ray = (rays[0], rays[1], np.float32(1))
    a = sum(np.square(d / r) for d, r in zip(ray, radii, strict=True))
    b = sum(d * c / np.square(r) for d, c, r in zip(ray, middle, radii, strict=True))
    k = np.square(middle / radii).sum() - 1
    inside = b * b - a * k
    z = (b - np.sqrt(np.maximum(inside, 0))) / a
    return np.asarray(np.where((inside > 0) & (z > _NEAREST), z, _NOWHERE), np.float32)


def _box(rays: tuple[Plane, Plane], middle: Point, half: Point, turn: float) -> Plane:
    """A box turned about its upright axis by ``turn`` radians."""
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    ray = (cos * rays[0] + sin, rays[1], -sin * rays[0] + cos)
    place = (cos * middle[0] + sin * middle[2], middle[1], -sin * middle[0] + cos * middle[2])
    return _nearest([_slab(d, c, h) for d, c, h in zip(ray, place, half, strict=True)])


def _cylinder(rays: tuple[Plane, Plane], middle: Point, radius: float, half: float) -> Plane:
    """An upright one of height 2·``half``."""
    a = np.square(rays[0]) + 1
    b = rays[0] * middle[0] + middle[2]
    inside = b * b - a * (middle[0] ** 2 + middle[2] ** 2 - radius**2)
    root = np.sqrt(np.maximum(inside, 0))
    first, last = (np.where(inside > 0, (b + sign * root) / a, -sign * _NOWHERE) for sign in (-1, 1))
    return _nearest([(first, last), _slab(rays[1], middle[1], half)])


def _slab(ray: Plane, middle: float, half: float) -> tuple[Plane, Plane]:
    """Between which z a ray is within ``half`` of ``middle``."""
    safe = np.where(np.abs(ray) < 1e-6, np.float32(1e-6), ray)
    one, other = (middle - half) / safe, (middle + half) / safe
    return np.minimum(one, other), np.maximum(one, other)


def _nearest(spans: list[tuple[Plane, Plane]]) -> Plane:
    """Where a ray enters what all spans have in common."""
    first = np.maximum.reduce([span[0] for span in spans])
    last = np.minimum.reduce([span[1] for span in spans])
    return np.asarray(np.where((first < last) & (first > _NEAREST), first, _NOWHERE), np.float32)
