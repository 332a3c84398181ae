"""Costs: what the model takes for so many pictures, from what it took, and how best to cut them into batches."""

from __future__ import annotations

import functools
import statistics
import threading
from collections import deque
from collections.abc import Mapping, Sequence

Size = tuple[int, int]

#: The cost is the median of so many of the last forwards: one that was held up says nothing.
REMEMBER = 31


class CostModel:
    """Milliseconds of forwards by (height, width) and the batch size that the painter is built for. Any thread.

    ``batches``: see ``realtime.engine.Painter``. What was never measured is reckoned from the nearest larger batch,
    whose cost it can't exceed, or else in proportion from the largest smaller one.
    """

    def __init__(self, batches: Sequence[int], measured: Mapping[tuple[Size, int], float] | None = None) -> None:
        self.batches = tuple(sorted(batches))
        self._lock = threading.Lock()
        self._seen: dict[tuple[Size, int], deque[float]] = {}
        self._ms: dict[tuple[Size, int], float] = {}
        for (size, count), ms in (measured or {}).items():
            self.add(size, count, ms)

    def add(self, size: Size, count: int, ms: float) -> None:
        """One forward of ``count`` pictures took so long."""
        built = self._built_for(count)
        if built is None:
            return
        with self._lock:
            seen = self._seen.setdefault((size, built), deque(maxlen=REMEMBER))
            seen.append(ms)
            self._ms[size, built] = statistics.median(seen)

    def forward(self, size: Size, count: int) -> float | None:
        """Milliseconds of one forward of ``count`` pictures; None when nothing is known of the size."""
        built = self._built_for(count)
        if built is None:
            return None
        known = {batch: self._ms[size, batch] for batch in self.batches if (size, batch) in self._ms}
        larger = [ms for batch, ms in known.items() if batch >= built]
        if larger:
            return larger[0]
        return max((ms * built / batch for batch, ms in known.items()), default=None)

    def pictures(self, size: Size, count: int) -> float | None:
        """Milliseconds of ``count`` pictures in the forwards that take the least; None when nothing is known."""
        costs = self._known(size)
        return _best(costs, count)[0] if costs else None

    def first_of(self, size: Size, count: int) -> int:
        """How many of ``count`` pictures to paint in the next forward: all, or fewer where the rest is cheaper apart.

        A batch of five may cost as much as one of eight, and then four and one are the better way.
        """
        costs = self._known(size)
        return _best(costs, count)[1] if costs else min(count, self.batches[-1])

    def _known(self, size: Size) -> tuple[tuple[int, float], ...]:
        costs = [(batch, self.forward(size, batch)) for batch in self.batches]
        return tuple((batch, ms) for batch, ms in costs if ms is not None)

    def _built_for(self, count: int) -> int | None:
        return next((batch for batch in self.batches if batch >= count), None)


@functools.lru_cache(maxsize=512)
def _best(costs: tuple[tuple[int, float], ...], count: int) -> tuple[float, int]:
    """(milliseconds of ``count`` pictures, how many of them go first) where forwards cost (batch, milliseconds)."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    for pictures in range(1, count + 1):
        # Of equal costs the larger batch first, as it serves more at once.
        options = ((round(ms + best[max(0, pictures - batch)][0], 6), -min(batch, pictures)) for batch, ms in costs)
        ms, taken = min(options)
        best.append((ms, -taken))
    return best[count]
