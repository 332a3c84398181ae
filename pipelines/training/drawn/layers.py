"""A drawing in two layers, ground and lines, and what lies between two drawings of one scene.

The mean of a pale line on a dark ground and of a dark line on a pale ground is grey on grey: nothing is left of either.
So such styles share the picture out: dark lines come where it is light, pale ones stay longest where it is dark, and
where they meet both draw, a pale line within a dark one that is wider and deeper than its style's. A line that is half
open is grey, but seldom are many of them at once: only where all is equally light.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.training.drawn.colouring import lightness
from pipelines.training.drawn.scene import Image, Plane, blurred, mix, step

_NIGHT, _DAY = 0.2, 0.8  # how light the darkest places are, and the lightest, of most pictures
_DUSK = 0.7  # of that, what lies between all pale and all dark
_SOFT = 9.0  # σ, in pixels, of what is told apart: a seed's colours are no finer
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
        """How much lighter the lines are than the ground under them, −1..1; where there are none, than all of it."""
        weight = self.cover + np.float32(1e-3)
        return float(((lightness(self.ink) - lightness(self.ground)) * weight).sum() / weight.sum())


def between(one: Layers, other: Layers, share: float, colours: Image) -> Image:
    """``share`` (0..1) of the way from one picture to the other, H×W×3 in [0, 1]; ``colours``: the scene's."""
    if one.contrast * other.contrast >= 0:
        return mix(one.picture, other.picture, share)
    (pale, dark), way = ((one, other), share) if one.contrast > 0 else ((other, one), 1 - share)
    come = _come(way, colours)
    ground, seen = mix(pale.ground, dark.ground, come), 1 - come
    wide, heart, there = step(seen, 0.0, 0.4), step(seen, 0.40, 0.50), step(come, 0.0, 0.5)
    rim = np.maximum(dark.cover, step(blurred(dark.cover, _RIM), 0.12, 0.36) * wide)
    deep = dark.ink * (1 - _DEEPER * step(seen, 0.0, 0.35))[..., None]
    outlined = mix(ground, deep, rim * there)
    return np.clip(mix(outlined, pale.ink, pale.cover * heart), 0, 1).astype(np.float32)


def _come(way: float, colours: Image) -> Plane:
    """How much the dark style has come to each place, ``way`` (0..1) of the way to it: nothing at 0, all at 1, and
    on the way more where it is light."""
    light = np.clip((blurred(lightness(colours), _SOFT) - _NIGHT) / (_DAY - _NIGHT), 0, 1)
    return np.clip((light - 1 + np.float32(way * (1 + _DUSK))) / _DUSK, 0, 1)
