"""Ctrl-C, SIGTERM and the end of the time given end the step, not the program: the loop saves first."""

from __future__ import annotations

import math
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """While entered, ``asked`` tells whether somebody wants an end. A second Ctrl-C ends at once, as usual.

    ``ends``: the ``time.monotonic()`` after which ``is_over``.
    """

    def __init__(self, ends: float = math.inf) -> None:
        self.asked = False
        self._ends = ends
        self._before: dict[signal.Signals, Any] = {}

    @property
    def is_over(self) -> bool:
        """Whether the time is up; processes may learn of it a step apart."""
        return time.monotonic() >= self._ends

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():  # elsewhere signals can't be taken
            self._before = {each: signal.signal(each, self._take) for each in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._give_back()

    def _give_back(self) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        self._before = {}
