"""The maps that are painted from: canny, as the frame path draws it, or drawn beforehand where it can't be."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.condition import Conditioner, ConditionMap
from pipelines.settings import Kind, Settings
from realtime.bench.errors import is_here

Picture = NDArray[np.uint8]
Map = NDArray[np.uint8]


def can_draw() -> bool:
    """Whether controlnet-aux is here, through which canny is drawn."""
    return is_here("controlnet-aux")


def included() -> str:
    """For the line that says what was timed."""
    return "canny included" if can_draw() else "maps drawn beforehand, as controlnet-aux is not here"


def lines(settings: Settings) -> Callable[[Picture], Map]:
    """What makes the uint8 H×W map of a picture."""
    draw = conditioners()["canny"].drawer()
    return lambda image: draw(image, settings).map


def conditioners() -> dict[Kind, Conditioner]:
    """By kind, for ``realtime.model.wrap``."""
    if not can_draw():
        return {"canny": Beforehand()}
    from pipelines.canny import CannyConditioner

    return {"canny": CannyConditioner()}


class Beforehand:
    """A conditioner whose map of a size is drawn once and then given for every picture of that size."""

    kind: Kind = "canny"

    def __init__(self) -> None:
        self._maps: dict[tuple[int, ...], Map] = {}

    def is_slow(self, settings: Settings) -> bool:
        return False

    def drawer(self) -> Beforehand:
        return self

    def warm_up(self, size: tuple[int, int], settings: Settings) -> None:
        """Nothing is loaded."""

    def __call__(self, image: Picture, settings: Settings) -> ConditionMap:
        shape = image.shape
        if shape not in self._maps:
            edges = cv2.Canny(image, settings.canny_low, settings.canny_high)
            self._maps[shape] = np.asarray(edges, dtype=np.uint8)
        return ConditionMap(map=self._maps[shape], kind=self.kind)
