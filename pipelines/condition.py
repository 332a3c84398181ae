"""What a ControlNet is shown: condition maps, and the protocols of those who draw them from camera pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.settings import Kind, Settings

Polarity = Literal["white on black", "black on white"]

#: How the maps of each kind are drawn here (depth: near is white). The preset says what its ControlNet was trained on.
DRAWN: Mapping[str, Polarity] = {
    "canny": "white on black",
    "sketch": "black on white",
    "depth": "white on black",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ConditionMap:
    """One drawn map: ``map`` is uint8 H×W, 0 black to 255 white, in the polarity of ``DRAWN``."""

    map: NDArray[np.uint8]
    kind: Kind


class Drawer(Protocol):
    """Draws the maps of one stream of pictures. Called for one picture at a time, in order, from any thread."""

    def __call__(self, image: NDArray[np.uint8], settings: Settings) -> ConditionMap:
        """``image``: uint8 H×W×3 RGB, already at the size that will be painted. The map has the same H×W."""


class Conditioner(Protocol):
    """One kind of maps. What it holds (weights) is shared by all streams; what a stream needs is in its drawer."""

    kind: Kind

    def is_slow(self, settings: Settings) -> bool:
        """True where ``settings`` ask for a network, which is too slow for every frame.

        It is asked at every n-th (``Settings.depth_every``), beside the frames and on a CUDA stream of its own; frames
        between take the last map. Slow drawers of one conditioner are never called by two threads at once; quick ones
        may be.
        """

    def drawer(self) -> Drawer:
        """A drawer for one more stream."""

    def warm_up(self, size: tuple[int, int], settings: Settings) -> None:
        """Load and run once at (height, width) what ``settings`` asks for, so that no frame waits for it.

        Raises ``pipelines.errors.PipelineError`` with one sentence when its weights can't be had.
        """
