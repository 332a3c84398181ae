"""Snapshot: what one frame of a session is painted with, read once a frame."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Snapshot:
    """Settings, the drawing of a session without a camera, and the id of the newest change: replaced as one.

    ``since_ns``: a map that is older (``time.monotonic_ns()``) doesn't show this snapshot yet. 0 where a camera goes on
    anyway.
    """

    settings: Settings
    drawing: NDArray[np.uint8] | None = None
    since_ns: int = 0
    change_id: int = 0

    def change(self, **changes: Any) -> Snapshot:
        """The next one, with an id of its own."""
        return dataclasses.replace(self, change_id=self.change_id + 1, **changes)
