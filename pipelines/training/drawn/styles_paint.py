"""Styles painted from edges and colours: stained glass, comic, watercolour, oil, toy and pixel art."""

from __future__ import annotations

import cv2
import numpy as np

from pipelines.training.drawn.colouring import lightness, paint
from pipelines.training.drawn.layers import Layers
from pipelines.training.drawn.scene import Image, Plane, Scene, blurred, flat, mix, shifted, step, tiled

_ROWS, _COLUMNS = np.mgrid[0:8, 0:8].astype(np.float32)
DOTS = np.minimum(np.hypot(_ROWS - 3.5, _COLUMNS - 3.5), np.hypot(4 - np.abs(_ROWS - 3.5), 4 - np.abs(_COLUMNS - 3.5)))
# Brush strokes a latent wide, lit on one side and dark between: level, upright, rising, falling.
_STROKE = np.array([-1, -0.2, 0.5, 0.9, 1, 0.7, 0.3, -0.3], np.float32)
_LEVEL = 0.7 * _STROKE[:, None] + 0.3 * np.cos((_COLUMNS + _ROWS) * np.pi / 4)
_SLANTED = 0.75 * _STROKE[(_ROWS + _COLUMNS).astype(np.intp) % 8] + 0.2 * np.cos((_ROWS - _COLUMNS) * np.pi / 4)
STROKES = tuple(stroke.astype(np.float32) for stroke in (_LEVEL, _LEVEL.T, _SLANTED, _SLANTED[:, ::-1]))
LAMP = np.array([-0.48, -0.58, 0.66], np.float32)  # the direction to it: upper left, in front
HALFWAY = (LAMP + np.array([0, 0, 1], np.float32)) / np.float32(np.linalg.norm(LAMP + np.array([0, 0, 1])))
GRID = ((_ROWS % 4 == 3) | (_COLUMNS % 4 == 3)).astype(np.float32)
WEAVE = (0.25 * (np.cos(_ROWS * np.pi / 2) * np.cos(_COLUMNS * np.pi / 4))).astype(np.float32)


def stained_glass(scene: Scene) -> Layers:
    """Jewel panes, lit from behind and brightest in their middle, in dark lead."""
    glass = _deeper(paint(scene, 1.4), 1.5)
    lit = 0.70 + 0.50 * (1 - scene.near(9))
    panes = np.clip(glass * lit[..., None], 0, 1)
    lead = _outline(scene, 2.5, 0.45)
    sheen = np.clip(shifted(scene.line(1.6), -1, -1) - scene.line(1.6), 0, 1)
    return Layers(
        ground=mix(panes, flat(scene, 1.0, 0.97, 0.85), sheen * 0.25), ink=flat(scene, 0.045, 0.04, 0.05), cover=lead
    )


def comic(scene: Scene) -> Layers:
    """Few steps of light on newsprint, blue in the shadows with dots of the printing screen, bold black outlines."""
    colours = _graded(paint(scene, 1.6), (0.06, 0.10, 0.36), (1.0, 0.97, 0.78), 0.25)
    light = lightness(colours)
    loud = _in_steps(np.clip(colours * (1.12 * step(light, -0.1, 0.55))[..., None], 0, 1), 4, 0.7)
    dots = step(4.3 * (1 - light) - tiled(DOTS, scene), -1.1, 1.1) * 0.15
    return Layers(
        ground=loud * (1 - dots)[..., None], ink=flat(scene, 0.05, 0.04, 0.07), cover=_outline(scene, 2.4, 0.40)
    )


def watercolour(scene: Scene) -> Layers:
    """Thin washes on white paper: pigment gathers at the edges, and the wash runs out far from them."""
    pigment: Image = np.clip(paint(scene, 1.3), 0.05, 1)
    gap = np.clip(blurred(shifted(scene.edges, -3, -3), 1.4) * 3, 0, 1) * (1 - scene.crowd)
    thickness = (0.20 + 0.36 * scene.near(30)) * (1 - 0.55 * gap) + 0.55 * scene.near(3) * (1 - gap)
    paper = flat(scene, 0.985, 0.978, 0.960) - (0.030 * tiled(WEAVE, scene))[..., None]
    washed: Image = paper * np.power(pigment, thickness[..., None])
    return Layers(ground=washed, ink=0.52 * _deeper(pigment, 1.6), cover=0.92 * _outline(scene, 1.7, 0.65))


def oil(scene: Scene) -> Layers:
    """Thick saturated paint, brushed along the edges, lit from the upper left, with contours of the same paint."""
    body = _graded(_deeper(paint(scene, 1.2), 1.3), (0.13, 0.07, 0.03), (0.93, 0.80, 0.50), 0.30)
    strokes = _strokes(scene)
    right, down = _slopes(scene.glow(2.0))
    relief = np.clip(-2.4 * (right + down), -0.25, 0.35)
    lit = 1 + 0.08 * strokes + relief
    hues = np.array([0.030, 0.0, -0.040], np.float32) * strokes[..., None]  # warm on a stroke's back, cool beside it
    varnish = np.array([1.04, 0.99, 0.90], np.float32)
    painted = np.clip((body * lit[..., None] + hues) * varnish, 0, 1)
    umber = 0.12 * body + np.array([0.05, 0.025, 0.01], np.float32)
    return Layers(ground=painted, ink=umber, cover=0.95 * _outline(scene, 2.2, 0.65))


def toy(scene: Scene) -> Layers:
    """Smooth plastic cushions under a soft lamp, with highlights and creases."""
    body = 0.76 * paint(scene, 1.45) + np.float32(0.24)
    right, down = (blurred(slope, 2.0) * (1 - 0.6 * scene.crowd) for slope in scene.relief)
    normal = np.stack([-right * 0.42, -down * 0.42, np.ones_like(right)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    diffuse = np.clip(normal @ LAMP, 0, 1)
    shine = step(normal @ HALFWAY, 0.955, 0.995) * scene.near(16)
    shade = (0.55 + 0.70 * diffuse) * (1 - 0.28 * scene.near(3))
    shade = shade * (1 - 0.20 * np.clip(blurred(shifted(scene.edges, 5, 6), 4) * 2.5, 0, 1))
    plastic = np.clip(body * shade[..., None] + 0.34 * shine[..., None], 0, 1)
    return Layers(ground=plastic, ink=0.20 * body, cover=0.95 * _outline(scene, 1.9, 0.65))


def pixel_art(scene: Scene) -> Layers:
    """Blocks of four pixels from a console's palette, violet to pale green, outlined darkly in blocks of two."""
    colours = _graded(_blocks(paint(scene, 1.5), 4), (0.20, 0.05, 0.48), (0.86, 1.0, 0.70), 0.42)
    levels = _in_steps(colours, 6, 0.8, soft=0.1)
    levels = levels * (1 - 0.07 * tiled(GRID, scene))[..., None]
    outline = _blocks(scene.edges, 2)
    return Layers(ground=levels, ink=0.20 * levels, cover=step(outline, 0.2, 0.5) * (1 - 0.45 * scene.crowd))


def _outline(scene: Scene, width: float, faded: float) -> Plane:
    """Lines that are fainter by ``faded`` where they crowd: colours tell a texture, outlines would blacken it."""
    return (scene.line(width) * (1 - np.float32(faded) * scene.crowd)).astype(np.float32)


def _graded(colours: Image, dark: tuple[float, float, float], pale: tuple[float, float, float], amount: float) -> Image:
    """Pulled towards a scale from ``dark`` to ``pale``, as light as they were: the tone a style is known by."""
    low, high = np.array(dark, np.float32), np.array(pale, np.float32)
    scale = low + (high - low) * lightness(colours)[..., None]
    return (colours + np.float32(amount) * (scale - colours)).astype(np.float32)


def _in_steps(colours: Image, count: int, amount: float, soft: float = 0.3) -> Image:
    """Lightness in ``count`` steps with ``soft`` risers (0..0.5), the hues as they were."""
    light = lightness(colours)
    steps = light * count
    whole = np.floor(steps)
    stepped = (whole + step(steps - whole, 0.5 - soft, 0.5 + soft)) / count
    return np.clip(colours + (np.float32(amount) * (stepped - light))[..., None], 0, 1).astype(np.float32)


def _deeper(colours: Image, power: float) -> Image:
    """Darker and more saturated: what a thicker layer of the same glass or ink lets through."""
    return np.power(np.clip(colours, 0, 1), power).astype(np.float32)


def _strokes(scene: Scene) -> Plane:
    """Bristle marks in -1..1 that run as the nearby lines do; a weave where nothing prevails."""
    level, rising = scene.direction
    runs = (level, -level, rising, -rising)
    marks = [(0.09 + np.maximum(run, 0)) * tiled(stroke, scene) for run, stroke in zip(runs, STROKES, strict=True)]
    return np.clip(np.sum(marks, axis=0), -1, 1).astype(np.float32)


def _blocks(picture: Plane, side: int) -> Plane:
    """Means of side×side blocks, each filling its block again."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (-(-width // side), -(-height // side)), interpolation=cv2.INTER_AREA)
    return np.repeat(np.repeat(small, side, 0), side, 1)[:height, :width]


def _slopes(plane: Plane) -> tuple[Plane, Plane]:
    return cv2.Sobel(plane, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(plane, cv2.CV_32F, 0, 1, scale=1 / 8)
