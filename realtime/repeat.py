"""The last picture again, for who has come since: at a low rate, as nothing new is to be seen."""

from __future__ import annotations

import time
from collections.abc import Callable

from realtime.clock import Clock
from streaming.frame import Frame

#: So often the last picture is shown again: an encoder needs a few of the same to make it sharp, a new viewer one.
REPEAT_SECONDS = 0.2


class Repeater:
    """For a camera whose pictures are skipped. Used on the event loop only; ``show`` gives a picture to all viewers."""

    def __init__(self, show: Callable[[Frame], None], *, clock: Clock = time.monotonic) -> None:
        self._show = show
        self._clock = clock
        self._last: Frame | None = None
        self._at = 0.0

    def delivered(self, painted: Frame) -> None:
        """A painted picture went out."""
        self._last, self._at = painted, self._clock()

    def again(self, skipped: Frame) -> None:
        """Show the last picture in place of a skipped one, with that one's number and times, if it is time to."""
        if self._last is None or skipped.seq <= self._last.seq or self._clock() - self._at < REPEAT_SECONDS:
            return
        again = self._last.retimed(skipped)
        self.delivered(again)
        self._show(again)
