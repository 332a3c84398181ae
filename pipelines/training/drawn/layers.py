"""A drawing in two layers, ground and lines, and what lies between two drawings of one scene.

The mean of a pale line on a dark ground and of a dark line on a pale ground is grey on grey: nothing is left of either.
So between such styles both draw: a pale line within a dark one that is wider and deeper than its style's. From the dark
style on, lines widen first and then open, all at once: a line that is half open is grey, and what learns to draw it
slowly draws it grey on much of the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.training.drawn.colouring import lightness
from pipelines.training.drawn.scene import Image, Plane, blurred, mix, step

_RIM = 1.0  # σ, in pixels, of what a dark line is widened by
_DEEPER = 0.5  # how much darker its ink is: the ground is, too


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
    wide, heart, there = _risen(seen, 0.0, 0.25), _risen(seen, 0.22, 0.30), _risen(1 - seen, 0.0, 0.5)
    rim = np.maximum(dark.cover, step(blurred(dark.cover, _RIM), 0.12, 0.36) * wide)
    deep = dark.ink * np.float32(1 - _DEEPER * _risen(seen, 0.0, 0.2))
    outlined = mix(ground, deep, rim * there)
    return np.clip(mix(outlined, pale.ink, pale.cover * heart), 0, 1).astype(np.float32)


def _risen(share: float, low: float, high: float) -> float:
    return float(step(np.asarray(share, np.float32), low, high))
