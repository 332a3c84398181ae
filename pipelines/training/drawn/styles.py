"""Twelve styles whose picture is determined by edges, colours and perhaps a colour word: the targets to learn.

Each is a classical filter, deterministic, and local enough for a small convolutional network. Texture repeats with
every latent (8 pixels) and is too faint for an edge detector: what can't be predicted would be learned as mush.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipelines.training.drawn.scene import Image, Scene
from pipelines.training.drawn.styles_lines import blueprint, chalk, gold, ink, neon, pencil
from pipelines.training.drawn.styles_paint import comic, oil, pixel_art, stained_glass, toy, watercolour

STYLES: dict[str, Callable[[Scene], Image]] = {
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
    return np.clip(STYLES[style](scene), 0, 1).astype(np.float32)
