"""Similar: whether a camera's picture shows what the last painted one showed, so that nobody needs it painted again."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.snapshot import Snapshot
from realtime.walking import walks

#: Pixels of a side of the blocks whose means are compared: a camera's noise all but vanishes in them, a finger doesn't.
BLOCK = 16

Blocks = NDArray[np.uint8]


def blocks_of(image: NDArray[np.uint8]) -> Blocks:
    """The means of uint8 H×W×3 over blocks of about 16×16 pixels, as uint8 h×w×3."""
    height, width = (max(1, side // BLOCK) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def difference(one: Blocks, other: Blocks) -> int:
    """The strongest change of any block in any channel, in grey levels."""
    return int(cv2.absdiff(one, other).max())


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Look:
    """What a picture looks like, and when it was taken; of one that was prepared, also what it is painted with.

    ``map_ns``: when the picture was taken that its oldest map was drawn from.
    """

    blocks: Blocks
    captured_ns: int
    change_id: int = -1
    map_ns: float = 0.0


class StillScene:
    """Watches one camera. ``is_still`` and ``given`` are called by one thread at a time, the others from any.

    A picture may be skipped that looks like the last painted one and like those on their way to be painted: so slow
    drift adds up until it shows, and what the viewers were given last is always of this scene.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._painted: Look | None = None
        self._given: deque[Look] = deque()  # to the model, oldest first
        self._since_ns: int | None = None  # all pictures from this one on look alike

    def is_still(self, look: Look, snapshot: Snapshot) -> bool:
        """Whether this picture, to be painted with ``snapshot``, would only repeat the last one."""
        with self._lock:
            last, limit = self._painted, snapshot.settings.skip_similar
            if last is None or any(difference(look.blocks, each.blocks) >= limit for each in (last, *self._given)):
                self._since_ns = None
                return False
            if self._since_ns is None:
                self._since_ns = last.captured_ns
            same_settings = last.change_id == snapshot.change_id and not walks(snapshot.settings)
            # A slow map may be of what went on before, and then another one is needed.
            return same_settings and last.map_ns >= self._since_ns

    def given(self, look: Look) -> None:
        """This picture goes to the model now."""
        with self._lock:
            self._given.append(look)

    def displaced(self) -> None:
        """The picture before the one given last will not be painted: it waited, and gave way to that."""
        with self._lock:
            if len(self._given) > 1:
                del self._given[-2]

    def painted(self, look: Look | None) -> None:
        """A picture came back; None for one that nobody looked at."""
        with self._lock:
            while self._given and look is not None and self._given.popleft() is not look:
                pass
            self._painted = look

    def forget(self) -> None:
        """After an error: whatever comes is painted."""
        with self._lock:
            self._painted = None
            self._given.clear()

    @property
    def rests(self) -> bool:
        """Whether no picture is on its way, so that the last one may be shown again without being overtaken."""
        return not self._given
