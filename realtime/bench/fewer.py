"""A painter that is built for less than it could be: on a GPU each batch size and each size takes time to compile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Fewer:
    """``painter`` in all but its ``batches``, and with no size but its own."""

    def __init__(self, painter: Any, batches: Sequence[int]) -> None:
        self._painter = painter
        self.batches = tuple(batches)
        self.sizes = (painter.size,)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._painter, name)
