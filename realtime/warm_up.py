"""Warming up: everything that is slow the first time is done before somebody waits for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WarmUp:
    """One step: ``batch`` pictures of ``size`` (height, width) are painted with ``settings``.

    It is the ``step``-th of ``of``; the largest batch of them all has ``most`` pictures.
    """

    settings: Any
    size: Size
    batch: int
    most: int
    step: int
    of: int

    def __str__(self) -> str:
        height, width = self.size
        return f"Warming up: batch {self.batch} of {self.most}, {width}×{height} (step {self.step} of {self.of})."


def steps(settings: Sequence[Any], *, sizes: Sequence[Size], batches: Sequence[int]) -> list[WarmUp]:
    """Each of ``settings`` at each size and batch size."""
    works = [(each, size, batch) for each in settings for size in sizes for batch in batches]
    return [
        WarmUp(settings=each, size=size, batch=batch, most=max(batches), step=step, of=len(works))
        for step, (each, size, batch) in enumerate(works, start=1)
    ]
