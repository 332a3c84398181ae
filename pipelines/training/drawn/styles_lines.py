"""Styles drawn from the edges alone: ink, pencil, chalk, blueprint, neon, gold. A colour word moves their pigment."""

from __future__ import annotations

import cv2
import numpy as np

from pipelines.training.drawn.layers import Layers
from pipelines.training.drawn.scene import Image, Plane, Scene, blurred, flat, mix, rainbow, shifted, tiled

GRAIN: Plane = np.random.default_rng(8).permutation(64).reshape(8, 8) / np.float32(63)  # the tooth of paper and slate


def ink(scene: Scene) -> Layers:
    """Black ink on cream paper; lone lines are pressed harder; a wash lies to the lower right and where lines crowd."""
    wash = np.clip(shifted(scene.glow(3.5), 3, 3) * 4.2, 0, 1) * 0.34
    deep = np.clip(scene.glow(9) * 3.0, 0, 1) * 0.26
    pigment = _pigment(scene, (0.07, 0.07, 0.10), 0.30)
    paper = flat(scene, 0.965, 0.938, 0.882)
    washed = mix(paper, flat(scene, 0.20, 0.24, 0.30) + np.float32(0.6) * pigment, wash + deep)
    return Layers(ground=washed, ink=pigment, cover=scene.line(2.2))


def pencil(scene: Scene) -> Layers:
    """Graphite on white paper, hatched on the shadow side of the lines."""
    lead = _pigment(scene, (0.15, 0.15, 0.17), 0.42)
    shade = np.clip(blurred(shifted(scene.edges, 5, 5), 5) * 4.5 + scene.glow(11) * 1.5, 0, 1)
    rows, columns = np.mgrid[0 : scene.height, 0 : scene.width].astype(np.float32)
    hatch = 0.5 + 0.5 * np.sin((rows + columns) * np.float32(2 * np.pi / 8))
    paper = flat(scene, 0.970, 0.965, 0.950) - (0.020 * tiled(GRAIN, scene))[..., None]
    shaded = mix(paper, lead, shade * (0.16 + 0.145 * hatch))
    return Layers(ground=shaded, ink=lead, cover=scene.line(1.7) * 0.95)


def chalk(scene: Scene) -> Layers:
    """Dusty chalk, its colour turning with the line, on a wiped blackboard."""
    colour = mix(
        flat(scene, 0.97, 0.96, 0.92),
        rainbow(_hue(scene, 0.14 + 0.30 * scene.direction[0])),
        0.34 if scene.tint is None else 0.75,
    )
    grain = tiled(GRAIN, scene)
    board = flat(scene, 0.100, 0.160, 0.140) + (0.05 * scene.glow(14) + 0.02 * grain)[..., None]
    dust = np.clip(scene.glow(3.2) * 2.2, 0, 1) * (0.24 + 0.12 * grain)
    return Layers(ground=mix(board, colour, dust), ink=colour, cover=scene.line(2.4) * (0.86 + 0.14 * grain))


def blueprint(scene: Scene) -> Layers:
    """White drawing on Prussian blue squared paper, paler round the drawing."""
    blue = _pigment(scene, (0.050, 0.205, 0.470), 0.40)
    ground = blue * (0.78 + 0.34 * scene.near(14))[..., None]
    rows, columns = np.mgrid[0 : scene.height, 0 : scene.width]
    squares = ((rows % 8 == 4) | (columns % 8 == 4)).astype(np.float32)
    ground = mix(ground, flat(scene, 0.62, 0.78, 0.96), squares * 0.085)
    return Layers(ground=ground, ink=flat(scene, 0.93, 0.97, 1.0), cover=scene.line(1.6))


def neon(scene: Scene) -> Layers:
    """Glowing tubes with a white heart on a night-blue wall; pink, violet or cyan by the way they run."""
    level, rising = scene.direction
    colour = rainbow(_hue(scene, 0.72 - 0.21 * level + 0.08 * rising))
    light = 2.2 * scene.glow(2.2) + 2.0 * scene.glow(7) + 1.4 * scene.glow(18)
    wall = flat(scene, 0.030, 0.014, 0.070) + colour * (1 - np.exp(-0.80 * light))[..., None]
    heart = flat(scene, 0.66, 0.66, 0.66) + np.float32(0.34) * colour
    return Layers(ground=wall, ink=heart, cover=scene.line(1.9))


def gold(scene: Scene) -> Layers:
    """Gold inlay, catching the light by its direction, on black lacquer."""
    ridge = scene.glow(2.0) * 1.5
    across = cv2.Sobel(ridge, cv2.CV_32F, 1, 0) + cv2.Sobel(ridge, cv2.CV_32F, 0, 1)
    shine = np.clip(0.62 - 0.9 * across, 0, 1)
    metal = mix(flat(scene, 0.56, 0.33, 0.08), flat(scene, 1.0, 0.88, 0.50), shine)
    deep = _pigment(scene, (0.17, 0.030, 0.035), 0.30) * (1 - scene.near(26))[..., None]
    leaf = flat(scene, 0.30, 0.19, 0.06) * scene.crowd[..., None]
    ground = flat(scene, 0.022, 0.016, 0.018) + deep + flat(scene, 0.36, 0.20, 0.05) * scene.glow(4)[..., None] + leaf
    return Layers(ground=ground, ink=metal, cover=scene.line(2.2))


def _pigment(scene: Scene, usual: tuple[float, float, float], brightness: float) -> Image:
    """The style's own pigment, or one of the tint's hue at ``brightness``."""
    if scene.tint is None:
        return flat(scene, *usual)
    return flat(scene, *(rainbow(scene.tint, 0.95) * brightness * 1.25).tolist())


def _hue(scene: Scene, usual: Plane) -> Plane | float:
    return usual if scene.tint is None else scene.tint
