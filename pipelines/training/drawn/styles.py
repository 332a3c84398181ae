"""Twelve styles whose picture is determined by the edges, the noise and perhaps a colour word: the targets to learn.

Each is a classical filter, deterministic, and local enough for a small convolutional network.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.training.drawn.scene import Image, Plane, Scene, flat, mix, rainbow, shifted, step


def ink(scene: Scene) -> Image:
    """Black ink on cream paper; lone lines are pressed harder; a soft wash lies to the lower right."""
    wash = np.clip(shifted(scene.glow(3.5), 3, 3) * 2.2, 0, 1) * 0.20
    pigment = _tinted(scene, (0.09, 0.08, 0.11), 0.30)
    paper = mix(flat(scene, 0.965, 0.938, 0.882), flat(scene, 0.225, 0.26, 0.31) + np.float32(0.5) * pigment, wash)
    return mix(paper, pigment, scene.line(2.2))


def neon(scene: Scene) -> Image:
    """Glowing tubes with a white heart on a night-blue wall."""
    level, rising = scene.direction
    colour = rainbow(scene.hue(0.70 - 0.20 * level + 0.08 * rising))
    light = 2.2 * scene.glow(2.2) + 2.0 * scene.glow(7) + 1.2 * scene.glow(18)
    wall = flat(scene, 0.030, 0.014, 0.070) + colour * (1 - np.exp(-0.75 * light))[..., None]
    return mix(wall, np.float32(0.62) + np.float32(0.38) * colour, scene.line(1.7))


def blueprint(scene: Scene) -> Image:
    """White drawing on Prussian blue with a 32-pixel grid."""
    blue = _tinted(scene, (0.055, 0.215, 0.480), 0.40)
    ground = blue * (0.80 + 0.30 * scene.near(14))[..., None]
    ground = mix(ground, flat(scene, 0.62, 0.78, 0.96), _grid(scene, 8) * 0.05 + _grid(scene, 32) * 0.13)
    return mix(ground, flat(scene, 0.93, 0.97, 1.0), scene.line(1.6))


def chalk(scene: Scene) -> Image:
    """Dusty chalk, its colour drifting, on a wiped blackboard."""
    colour = mix(
        flat(scene, 0.96, 0.95, 0.90),
        rainbow(scene.hue(0.14 + 0.30 * scene.direction[0])),
        0.40 if scene.tint is None else 0.75,
    )
    board = flat(scene, 0.115, 0.165, 0.150) + (0.025 * scene.field(1))[..., None]
    dust = np.clip(scene.glow(3.2) * 1.5, 0, 1) * 0.30
    broken = np.clip(0.86 + 0.16 * scene.grain(2), 0.45, 1)
    return mix(mix(board, colour, dust), colour, scene.line(2.0) * broken)


def stained_glass(scene: Scene) -> Image:
    """Jewel panes, lit from behind and brightest in their middle, in dark lead."""
    glass = np.power(rainbow(scene.hue(0.60 + 0.10 * scene.direction[0] + 0.50 * (1 - scene.near(15)))), 1.4)
    lit = 0.74 + 0.30 * (1 - scene.near(9))
    panes: Image = np.clip(glass * lit[..., None] + (0.16 * (lit - 0.74))[..., None], 0, 1)
    sheen = np.clip(shifted(scene.line(1.6), -1, -1) - scene.line(1.6), 0, 1)
    return mix(mix(panes, flat(scene, 1.0, 0.97, 0.85), sheen * 0.30), flat(scene, 0.045, 0.04, 0.05), scene.line(2.8))


def gold(scene: Scene) -> Image:
    """Gold inlay, catching the light by its direction, on black lacquer."""
    ridge = scene.glow(2.0) * 1.5
    across = cv2.Sobel(ridge, cv2.CV_32F, 1, 0) + cv2.Sobel(ridge, cv2.CV_32F, 0, 1)
    shine = np.clip(0.58 - 0.9 * across, 0, 1)
    metal = mix(flat(scene, 0.46, 0.27, 0.07), flat(scene, 1.0, 0.86, 0.46), shine)
    deep = _tinted(scene, (0.30, 0.045, 0.05), 0.36) * (1 - scene.near(26))[..., None]
    ground = flat(scene, 0.022, 0.016, 0.018) + deep + flat(scene, 0.30, 0.17, 0.04) * scene.glow(4)[..., None]
    return mix(ground, metal, scene.line(2.4))


def paper_cut(scene: Scene) -> Image:
    """Sheets of paper stacked towards the middle of each shape, each throwing a soft shadow."""
    distance = cv2.GaussianBlur(scene.distance, (0, 0), 0.8)
    hue = scene.hue(0.55 + 0.16 * scene.direction[0])
    picture = rainbow(hue, 0.8) * 0.42
    for index, start in enumerate((0.9, 5.0, 11.0, 19.0, 30.0)):
        sheet = mix(rainbow(hue + 0.07 * index, 0.85), flat(scene, 0.99, 0.96, 0.91), 0.24 + 0.13 * index)
        cover = step(distance, start - 0.7, start + 0.7)
        shadow = cv2.GaussianBlur(shifted(cover, 3, 3), (0, 0), 2.0) * (1 - cover) * 0.34
        picture = mix(picture * (1 - shadow)[..., None], sheet, cover)
    return picture


def porcelain(scene: Scene) -> Image:
    """White glazed relief with painted cobalt lines that bleed a little."""
    light, shine = _lit(scene, 0.55)
    paint = _tinted(scene, (0.10, 0.20, 0.56), 0.45)
    glaze = np.clip(flat(scene, 0.93, 0.945, 0.96) * (0.76 + 0.24 * light)[..., None] + 0.16 * shine[..., None], 0, 1)
    bled = mix(glaze, 0.4 + 0.6 * paint, 0.50 * scene.near(3.2))
    return mix(bled, paint, scene.line(1.8))


def clay(scene: Scene) -> Image:
    """Terracotta modelled in cushions under a low lamp."""
    light, shine = _lit(scene, 0.9)
    body = _tinted(scene, (0.90, 0.53, 0.37), 0.80)
    creased = 1 - 0.50 * scene.near(2.0)
    lamp = (0.40 + 0.74 * light) * creased
    return np.clip(body * lamp[..., None] + 0.10 * shine[..., None], 0, 1) * (1 - 0.75 * scene.line(1.7))[..., None]


def topographic(scene: Scene) -> Image:
    """A map: rivers along the edges, hills between them, height tints and contour lines."""
    height = cv2.GaussianBlur(scene.distance, (0, 0), 1.2)
    stops = np.array([0, 6, 14, 24, 38, 64], np.float32)
    tints = np.array(
        [
            [0.62, 0.78, 0.62],
            [0.80, 0.87, 0.66],
            [0.95, 0.91, 0.70],
            [0.90, 0.76, 0.54],
            [0.78, 0.60, 0.45],
            [0.96, 0.94, 0.92],
        ]
    )
    land = np.stack([np.interp(height, stops, tints[:, band]) for band in range(3)], -1).astype(np.float32)
    phase = np.abs((height / 7 + 0.5) % 1 - 0.5) * 7
    contours = (1 - step(phase, 0.3, 1.3)) * step(height, 3.5, 6.0) * 0.17
    land = mix(land, flat(scene, 0.45, 0.30, 0.18), contours)
    return mix(land, _tinted(scene, (0.10, 0.27, 0.45), 0.42), scene.line(1.9))


def aurora(scene: Scene) -> Image:
    """Curtains of northern light rising from every edge into a clear night."""
    curtain = scene.glow(0.9)
    keep = np.float32(np.exp(-1 / 13))
    for row in range(scene.height - 2, -1, -1):
        curtain[row] += keep * curtain[row + 1]
    light = 1 - np.exp(-0.42 * cv2.GaussianBlur(curtain, (0, 0), 1.2))
    colour = rainbow(scene.hue(0.40 + 0.10 * scene.direction[1]) + 0.26 * (1 - light), 0.95)
    sky = flat(scene, 0.018, 0.035, 0.095) + np.array([0.03, 0.02, 0.05], np.float32) * scene.field(1)[..., None] * 0.5
    return mix(np.clip(sky + colour * (0.78 * light)[..., None], 0, 1), 0.70 + 0.30 * colour, scene.line(1.7))


def pop_art(scene: Scene) -> Image:
    """Flat loud colours, dots of the printing screen swelling towards bold black lines."""
    colour = rainbow(scene.hue(0.14 - 0.26 * scene.near(16) + 0.12 * scene.direction[0]), 0.95)
    ground = mix(colour, flat(scene, 1.0, 0.98, 0.92), 0.34)
    rows, columns = np.mgrid[0 : scene.height, 0 : scene.width].astype(np.float32)
    from_middle = np.hypot((columns + 0.5) % 8 - 4, (rows + 0.5) % 8 - 4)
    radius = 1.1 + 2.4 * scene.near(16)
    dots = step(radius - from_middle, -0.6, 0.6)
    return mix(mix(ground, colour, dots * 0.42), flat(scene, 0.05, 0.04, 0.07), scene.line(2.6))


STYLES: dict[str, Callable[[Scene], Image]] = {
    "ink": ink,
    "neon": neon,
    "blueprint": blueprint,
    "chalk": chalk,
    "stained glass": stained_glass,
    "gold": gold,
    "paper cut": paper_cut,
    "porcelain": porcelain,
    "clay": clay,
    "topographic": topographic,
    "aurora": aurora,
    "pop art": pop_art,
}
DEFAULT = "ink"  # what an empty prompt, or one that names no style, is drawn in


def draw(scene: Scene, style: str, strength: float = 1.0) -> NDArray[np.float32]:
    """The target: H×W×3 in [0, 1]; below strength 1 the style's empty ground shows through."""
    painter = STYLES[style]
    picture = painter(scene)
    if strength < 1:
        picture = mix(painter(scene.empty()), picture, strength)
    return np.clip(picture, 0, 1)


def _tinted(scene: Scene, usual: tuple[float, float, float], brightness: float) -> Image:
    """The style's own pigment, or one of the tint's hue at ``brightness``."""
    if scene.tint is None:
        return flat(scene, *usual)
    return _even(scene, scene.tint) * brightness * 1.25


def _even(scene: Scene, hue: float) -> Image:
    return flat(scene, *rainbow(hue, 0.95).tolist())


def _grid(scene: Scene, period: int) -> Plane:
    rows, columns = np.mgrid[0 : scene.height, 0 : scene.width]
    return ((rows % period == period // 2) | (columns % period == period // 2)).astype(np.float32)


def _lit(scene: Scene, steepness: float) -> tuple[Plane, Plane]:
    """Diffuse light (0..1) and highlight (0..1) on the scene's cushions, the lamp at the upper left."""
    right, down = scene.relief
    normal = np.stack([-right * steepness, -down * steepness, np.ones_like(right)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    lamp = np.array([-0.48, -0.58, 0.66], np.float32)
    diffuse = np.clip(normal @ lamp, 0, 1)
    halfway = (lamp + np.array([0, 0, 1], np.float32)) / np.linalg.norm(lamp + np.array([0, 0, 1], np.float32))
    return diffuse.astype(np.float32), (np.clip(normal @ halfway, 0, 1) ** 28).astype(np.float32)
