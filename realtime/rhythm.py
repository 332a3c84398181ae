"""Rhythm: when something that has come again and again is likely to come next."""

from __future__ import annotations

import statistics
from collections import deque

#: The last intervals that are looked at, and how many it takes to know a rhythm.
REMEMBER, ENOUGH = 8, 3
#: Later than by this part of an interval it is no longer expected: the rhythm has changed, or it has ended.
LATE = 0.5


class Rhythm:
    """Times are in seconds, of any one clock. Not thread-safe."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._intervals: deque[float] = deque(maxlen=REMEMBER)
        self._usual = 0.0

    def tick(self, now: float) -> None:
        """It has come."""
        if self._last is not None:
            self._intervals.append(now - self._last)
            self._usual = statistics.median(self._intervals)
        self._last = now

    def is_due(self, now: float, until: float) -> bool:
        """Whether it is likely to come between now and then."""
        if self._last is None or len(self._intervals) < ENOUGH:
            return False
        next_one = self._last + self._usual
        return now - LATE * self._usual <= next_one <= until
