"""Governor: finds how far down a ladder of savings a session must go to keep its latency, and the way back up."""

from __future__ import annotations

import dataclasses
import threading
import time

from realtime.clock import Clock

#: A level is judged by the pictures of so many seconds, if those are enough to say anything ...
WINDOW, ENOUGH = 1.0, 5
#: ... and where pictures are rare, by those of so many.
LONGEST_WINDOW = 4.0
#: Under this part of the target there is room for more; between that and the target, perhaps.
ROOMY = 0.7
#: A second with perhaps room counts as so much of one, so that nobody stays down for ever.
PERHAPS = 0.25
#: Seconds of room before a step up; doubled after each one that had to be taken back, up to the most.
FIRST_WAIT, LONGEST_WAIT = 3.0, 96.0
#: A step up that has held for so many seconds was right.
PROVEN = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Lesson:
    """A step up to some level was taken back: what the latency was before it, and how long to wait with the next."""

    p95: float
    wait: float


class Governor:
    """Level 0 is full effort; each further level saves more. Any thread.

    Down at once when the 95th percentile of a window is over the target; up after some seconds with room. A step up
    that fails is remembered: the next to that level waits twice as long, unless the latency has fallen clearly below
    what it was before the failed one. So a load that sits between two levels costs a rare try and no swinging, and
    when the load goes, the way back is short.
    """

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._target = self._steps = self._level = 0
        self._changed_at = self._judged_at = clock()
        self._latencies: list[float] = []
        self._room = 0.0
        self._before: float | None = None  # the 95th percentile before a step up that isn't proven yet
        self._lessons: dict[int, _Lesson] = {}

    @property
    def level(self) -> int:
        return self._level

    @property
    def target(self) -> int:
        """Milliseconds; 0 while the governor is off."""
        return self._target

    def aim(self, target: int, steps: int) -> None:
        """Keep ``target`` ms with the levels 0 to ``steps``; 0 ms is off, at level 0. Does nothing if that is so."""
        with self._lock:
            if (target, steps) == (self._target, self._steps):
                return
            self._target, self._steps = target, steps
            self._lessons.clear()
            self._before = None
            self._go(min(self._level, steps) if target else 0)

    def delivered(self, latency_ms: float) -> None:
        """A picture went out just now, so long after it was taken."""
        with self._lock:
            now = self._clock()
            # One that was taken before the last step says nothing about this level.
            if not self._target or now - latency_ms / 1e3 < self._changed_at:
                return
            self._latencies.append(latency_ms)
            passed = now - self._judged_at
            if passed >= (WINDOW if len(self._latencies) >= ENOUGH else LONGEST_WINDOW):
                p95 = sorted(self._latencies)[-1 - len(self._latencies) // 20]
                self._latencies.clear()
                self._judged_at = now
                self._judge(p95, min(passed, LONGEST_WINDOW))

    def _judge(self, p95: float, passed: float) -> None:
        if p95 > self._target:
            self._down()
            return
        if self._before is not None and self._judged_at - self._changed_at >= PROVEN:
            self._lessons.pop(self._level, None)
            self._before = None
        self._room += passed * (1.0 if p95 <= ROOMY * self._target else PERHAPS)
        if self._level and self._room >= self._wait_for(self._level - 1, p95):
            self._before = p95
            self._go(self._level - 1)

    def _wait_for(self, level: int, p95: float) -> float:
        lesson = self._lessons.get(level)
        return lesson.wait if lesson and p95 > ROOMY * lesson.p95 else FIRST_WAIT

    def _down(self) -> None:
        if self._before is not None:
            known = self._lessons.get(self._level)
            wait = min(2 * (known.wait if known else FIRST_WAIT), LONGEST_WAIT)
            self._lessons[self._level] = _Lesson(p95=self._before, wait=wait)
            self._before = None
        self._go(min(self._level + 1, self._steps))

    def _go(self, level: int) -> None:
        self._room = 0.0
        self._latencies.clear()
        self._level = level
        self._changed_at = self._judged_at = self._clock()
