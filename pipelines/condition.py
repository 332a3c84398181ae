"""What a ControlNet is shown: a condition map, and the protocol of those who draw one from a camera picture."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ConditionMap:
    """One drawn map: ``map`` is uint8 H×W, 0 black to 255 white, in the conditioner's own polarity."""

    map: NDArray[np.uint8]
    kind: str


class Conditioner(Protocol):
    """Draws the map of one control kind. Called from a thread pool, so it must not keep state between pictures."""

    kind: str
    #: "white on black" or "black on white": what the map looks like. The preset says what its ControlNet wants.
    polarity: str

    def __call__(self, image: NDArray[np.uint8], settings: Settings) -> ConditionMap:
        """``image``: uint8 H×W×3 RGB, already at the size that will be painted. The map has the same H×W."""
