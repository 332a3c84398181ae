"""Colours for the styles: a picture's own laid flat between its edges, random fields, and what paint makes of them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.training.drawn.scene import Image, Plane, Scene, blurred, rainbow, step

REACH = 20.0  # pixels that a colour flows where no edge stops it
WALL = 240.0  # pixels that crossing an edge counts for
FINE = 2.5  # σ, in pixels, of the colours that a camera's small picture tells
FLAT = 0.7  # share of the colours that are laid flat; the rest keeps the picture's shades, where textures have no edges
SURROUNDINGS = 28.0  # σ, in pixels, of what the eye gets used to
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def region_colours(picture: NDArray[np.uint8], edges: NDArray[np.uint8]) -> Image:
    """The picture's colours laid flat between its edges: H×W×3 RGB in [0, 1] of uint8 H×W×3 and H×W (0 or 255).

    Colours flow as in the domain transform's recursive filter (Gastal and Oliveira 2011), along rows and columns by
    turns, and stop at edges. What lies far from edges counts most, since the pixels beside an edge hold both sides.
    """
    own = picture.astype(np.float32) / np.float32(255)
    walls = edges > 0
    inside = _inside(walls)[..., None]
    flowed = _flow(np.concatenate([own * inside, inside], -1), walls)
    flat = flowed[..., :3] / (flowed[..., 3:] + np.float32(1e-6))
    return np.clip(FLAT * flat + (1 - FLAT) * blurred(own, FINE), 0, 1).astype(np.float32)


def from_field(field: NDArray[np.float32], size: tuple[int, int]) -> Image:
    """A small field of colours (h×w×3 in [0, 1]) enlarged smoothly to ``size``: height, width."""
    large = cv2.resize(field, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(large, 0, 1).astype(np.float32)


def lightness(colours: Image) -> Plane:
    """Luma, 0..1."""
    return np.asarray(colours @ LUMA, np.float32)


def tinted(colours: Image, hue: float) -> Image:
    """All colours pulled to one hue, as light as they were."""
    light = lightness(colours)[..., None]
    pure = rainbow(hue)
    own = float(pure @ LUMA)
    dark, pale = pure * (light / own), pure + (1 - pure) * ((light - own) / (1 - own))
    return np.clip(0.88 * np.where(light < own, dark, pale) + 0.12 * light, 0, 1).astype(np.float32)


def paint(scene: Scene, depth: float = 1.0) -> Image:
    """The scene's colours as a painter mixes them: stronger, with a lifted night; greys turn dusk and candlelight.

    ``depth``: how far; 0 leaves them as they are, 1 is usual.
    """
    brighter = _brightened(scene.colours, depth)
    light = lightness(brighter)
    chroma = brighter - light[..., None]
    vivid = np.abs(chroma).max(-1)
    gain = 1 + depth * (0.95 * np.power(vivid + 1e-4, 0.56) / (vivid + 0.02) - 1)
    contrasted = light + np.float32(0.35 * depth) * (step(light, 0, 1) - light)
    warm = step(contrasted, 0.25, 0.80)[..., None]
    dusk, candle = np.array([-0.04, -0.02, 0.11], np.float32), np.array([0.08, 0.02, -0.10], np.float32)
    grey = np.exp(-vivid / 0.06) * (1 - 0.7 * step(light, 0.75, 1.0))  # white stays nearly white
    toned = (dusk * (1 - warm) + candle * warm) * (depth * grey)[..., None]
    strong = chroma * np.maximum(gain, 1)[..., None]
    mixed = np.clip(contrasted[..., None] + strong + toned, 0, 1).astype(np.float32)
    return mixed if scene.tint is None else tinted(mixed, scene.tint)


def _brightened(colours: Image, depth: float) -> Image:
    """Light as the eye sees it: dark places lifted, dark surroundings more so, as an eye gets used to the night."""
    around = blurred(lightness(colours), SURROUNDINGS)
    gain = np.power(np.maximum(0.45 / (around + 0.06), 1), 0.85 * depth)
    return np.power(np.clip(colours * gain[..., None], 0, 1), 1 - 0.20 * depth).astype(np.float32)


def _inside(walls: NDArray[np.bool_]) -> Plane:
    """How much a pixel's colour counts: hardly beside an edge, fully from nine pixels away."""
    if not walls.any():
        return np.ones(walls.shape, np.float32)
    away = cv2.distanceTransform((~walls).astype(np.uint8), cv2.DIST_L2, 3)
    return (1e-4 + np.square(np.clip((away - 0.9) / 8, 0, 1))).astype(np.float32)


def _flow(values: NDArray[np.float32], walls: NDArray[np.bool_], rounds: int = 3) -> NDArray[np.float32]:
    """The recursive filter along rows and columns, ``rounds`` times, each time half as far."""
    across = np.maximum(walls[:, 1:], walls[:, :-1]).T  # between a column and the next
    down = np.maximum(walls[1:], walls[:-1])
    flowing = np.ascontiguousarray(values)
    for index in range(rounds):
        sigma = REACH * np.sqrt(3) * 2.0 ** (rounds - index - 1) / np.sqrt(4.0**rounds - 1)
        free, shut = np.exp(-np.sqrt(2) / sigma), np.exp(-np.sqrt(2) * (1 + WALL) / sigma)
        flowing = np.ascontiguousarray(flowing.transpose(1, 0, 2))
        _sweep(flowing, np.where(across, shut, free).astype(np.float32))
        flowing = np.ascontiguousarray(flowing.transpose(1, 0, 2))
        _sweep(flowing, np.where(down, shut, free).astype(np.float32))
    return flowing


def _sweep(lines: NDArray[np.float32], carry: NDArray[np.float32]) -> None:
    """Each line takes ``carry`` (lines − 1 × pixels) of the one before it, then of the one after it, in place."""
    carry = np.repeat(carry[..., None], lines.shape[2], -1)
    difference = np.empty_like(lines[0])
    for index in range(1, len(lines)):
        np.subtract(lines[index - 1], lines[index], out=difference)
        difference *= carry[index - 1]
        lines[index] += difference
    for index in range(len(lines) - 2, -1, -1):
        np.subtract(lines[index + 1], lines[index], out=difference)
        difference *= carry[index]
        lines[index] += difference
