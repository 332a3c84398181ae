"""Waiting for the moment at which a picture is due, by its own timestamp."""

from __future__ import annotations

import threading
import time

#: A reader this late (seconds) isn't hurried any more: the clock is set anew.
_TOO_LATE = 0.5


class Pace:
    """Maps media time to the monotonic clock. ``stop`` ends a wait from another thread."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._stopped = threading.Event()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def wait_for(self, seconds: float) -> bool:
        """Wait until ``seconds`` of media time are due; False if stopped meanwhile."""
        now = time.monotonic()
        if self._start is None or now - (self._start + seconds) > _TOO_LATE:
            self._start = now - seconds
        return not self._stopped.wait(max(0.0, self._start + seconds - now))

    def stop(self) -> None:
        """End every wait, now and from now on."""
        self._stopped.set()
