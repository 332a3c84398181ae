"""A drawing in two layers, ground and lines, and what lies between two drawings of one scene.

The mean of a pale line on a dark ground and of a dark line on a pale ground is grey on grey: nothing is left of either.
So between such styles both draw, a little apart, like a relief that is lit from one side: light and shadow of one edge.
Neither fades before the other is there, and the edge lies between them, where it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.training.drawn.colouring import lightness
from pipelines.training.drawn.scene import Image, Plane, mix, shifted, step

_APART = (1.0, 0.7)  # pixels to the right and down that each line is moved by, half-way; further, an edge becomes two
_DEEPER = 0.6  # how much darker a dark line's ink is on the way: its ground is, too


@dataclass(frozen=True, kw_only=True, eq=False)
class Layers:
    """``ground`` and ``ink`` H×W×3 RGB, and ``cover`` H×W: how much of the ink is to be seen, 0..1."""

    ground: Image
    ink: Image
    cover: Plane

    @property
    def picture(self) -> Image:
        """Both, H×W×3 in [0, 1]."""
        return np.clip(mix(self.ground, self.ink, self.cover), 0, 1).astype(np.float32)

    @property
    def contrast(self) -> float:
        """How much lighter the lines are than the ground under them, −1..1; 0 where there are none."""
        apart = (lightness(self.ink) - lightness(self.ground)) * self.cover
        return float(apart.sum() / max(float(self.cover.sum()), 1e-6))


def between(one: Layers, other: Layers, share: float) -> Image:
    """``share`` (0..1) of the way from one picture to the other, H×W×3 in [0, 1]."""
    if one.contrast * other.contrast >= 0:
        return mix(one.picture, other.picture, share)
    ground = mix(one.ground, other.ground, share)
    (pale, dark), seen = ((one, other), 1 - share) if one.contrast > 0 else ((other, one), share)
    deep = dark.ink * np.float32(1 - _DEEPER * _risen(seen, 0, 0.15))
    shaded = _drawn(ground, deep, dark.cover * np.float32(_risen(1 - seen, 0.15, 0.5)), _risen(seen, 0, 0.3))
    lit = _drawn(shaded, pale.ink, pale.cover * np.float32(_risen(seen, 0.15, 0.5)), -_risen(1 - seen, 0, 0.3))
    return np.clip(lit, 0, 1).astype(np.float32)


def _drawn(under: Image, ink: Image, cover: Plane, apart: float) -> Image:
    right, down = (apart * each for each in _APART)
    return mix(under, shifted(ink, right, down), shifted(cover, right, down))


def _risen(share: float, low: float, high: float) -> float:
    return float(step(np.asarray(share, np.float32), low, high))
