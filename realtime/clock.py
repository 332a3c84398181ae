"""Measures over the last seconds: percentiles of a duration and the rate of an event. Time is monotonic, in seconds."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

Clock = Callable[[], float]


def milliseconds_since(captured_ns: int) -> float:
    """How long ago ``captured_ns`` (``time.monotonic_ns()``) was, in ms."""
    return (time.monotonic_ns() - captured_ns) / 1e6


class PercentileWindow:
    """The values of the last ``seconds`` (at most ``size`` of them). Any thread."""

    def __init__(self, *, seconds: float = 10.0, size: int = 1000, clock: Clock = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._values: deque[tuple[float, float]] = deque(maxlen=size)
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        with self._lock:
            self._values.append((self._clock(), value))

    def percentile(self, percent: float) -> float | None:
        """The nearest-rank percentile, ``percent`` in (0, 100], or None when nothing was added of late."""
        with self._lock:
            oldest = self._clock() - self._seconds
            values = sorted(value for when, value in self._values if when >= oldest)
        if not values:
            return None
        return values[max(0, -int(-len(values) * percent // 100) - 1)]


class RateMeter:
    """Events a second over the last ``seconds`` (since the first one while that is shorter). Any thread."""

    def __init__(self, *, seconds: float = 2.0, clock: Clock = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._times: deque[float] = deque()
        self._first: float | None = None
        self._lock = threading.Lock()

    def tick(self) -> None:
        with self._lock:
            now = self._clock()
            self._first = now if self._first is None else self._first
            self._times.append(now)
            self._forget(now)

    def count(self) -> int:
        """How many events the last ``seconds`` had."""
        with self._lock:
            self._forget(self._clock())
            return len(self._times)

    def age(self) -> float:
        """Seconds since the very first event; 0 before it."""
        with self._lock:
            return 0.0 if self._first is None else self._clock() - self._first

    def rate(self) -> float:
        with self._lock:
            now = self._clock()
            self._forget(now)
            if self._first is None:
                return 0.0
            span = min(self._seconds, now - self._first)
            # The very first event starts the clock, so it is not part of what happened since.
            since = len(self._times) - (self._times[0] == self._first if self._times else 0)
            return since / span if span > 0 else 0.0

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] <= now - self._seconds:
            self._times.popleft()
