"""A painter that is built for fewer batch sizes than it could be: on a GPU each of them takes time to compile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class FewBatches:
    """``painter`` in all but its ``batches``."""

    def __init__(self, painter: Any, batches: Sequence[int]) -> None:
        self._painter = painter
        self.batches = tuple(batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._painter, name)
