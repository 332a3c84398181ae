"""Twelve styles whose picture is determined by edges, colours and perhaps a colour word: the targets to learn.

Each is a classical filter, deterministic, and local enough for a small convolutional network. Texture repeats with
every latent (8 pixels) and is too faint for an edge detector: what can't be predicted would be learned as mush.
"""

from __future__ import annotations

from collections.abc import Callable

from pipelines.training.drawn.layers import Layers, between
from pipelines.training.drawn.scene import Image, Scene
from pipelines.training.drawn.styles_lines import blueprint, chalk, gold, ink, neon, pencil
from pipelines.training.drawn.styles_paint import comic, oil, pixel_art, stained_glass, toy, watercolour

STYLES: dict[str, Callable[[Scene], Layers]] = {
    "ink": ink,
    "pencil": pencil,
    "chalk": chalk,
    "blueprint": blueprint,
    "neon": neon,
    "gold": gold,
    "stained glass": stained_glass,
    "comic": comic,
    "watercolour": watercolour,
    "oil": oil,
    "toy": toy,
    "pixel art": pixel_art,
}
DEFAULT = "ink"  # what an empty prompt, or one that names no style, is drawn in


def draw(scene: Scene, style: str) -> Image:
    """The target: float32 H×W×3 in [0, 1]. Raises KeyError for a style that isn't in ``STYLES``."""
    return STYLES[style](scene).picture


def draw_between(scenes: tuple[Scene, Scene], styles: tuple[str, str], share: float) -> Image:
    """The target ``share`` (0..1) of the way from the first scene in the first style to the second in the second.

    The scenes differ in their tint only. Raises KeyError as ``draw`` does.
    """
    one, other = (STYLES[style](scene) for scene, style in zip(scenes, styles, strict=True))
    return between(one, other, share, scenes[0].colours)
