"""Tally: what one session counts and measures. Any thread."""

from __future__ import annotations

import threading
from typing import Any

from realtime.clock import PercentileWindow, RateMeter, milliseconds_since
from realtime.metrics import Metrics

#: A session's demand is what it wanted painted over so many seconds, and is known after the first few of them.
DEMAND_SECONDS, KNOWN_AFTER = 5.0, 2.0


class Tally:
    """Frames in, out, dropped and skipped, rates, latency, model time and age of the maps of one session.

    All is passed on to the server's metrics.

    Once nothing is in flight, ``frames_in == frames_out + frames_dropped + frames_skipped``.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._in = self._out = self._dropped = self._skipped = 0
        self._rate_in, self._rate_out = RateMeter(), RateMeter()
        self._came, self._unwanted = RateMeter(seconds=DEMAND_SECONDS), RateMeter(seconds=DEMAND_SECONDS)
        self._latency, self._model = PercentileWindow(), PercentileWindow()
        self._age_ms: float | None = None

    def arrived(self) -> None:
        with self._lock:
            self._in += 1
        self._rate_in.tick()
        self._came.tick()
        self._metrics.arrived()

    def dropped(self, lost: bool = True) -> None:
        """Count one lost frame if there was one."""
        if lost:
            with self._lock:
                self._dropped += 1
            self._metrics.dropped()

    def skipped(self) -> None:
        """One looked like the last painted one, and was not painted."""
        with self._lock:
            self._skipped += 1
        self._unwanted.tick()
        self._metrics.skipped()

    def wanted(self) -> float | None:
        """How many frames a second there are to be painted; None until that can be told."""
        if self._came.age() < KNOWN_AFTER:
            return None
        came = self._came.count()
        return self._came.rate() * max(0, came - self._unwanted.count()) / max(1, came)

    def known_in(self) -> float:
        """Seconds until ``wanted`` can be told, if frames come from now on; 0 when it can."""
        return max(0.0, KNOWN_AFTER - self._came.age())

    def delivered(self, *, captured_ns: int, model_ms: float, age_ms: float | None = None) -> float:
        """The latency in ms. ``age_ms``: how much older than its frame its oldest map was, None if it had its own."""
        latency_ms = milliseconds_since(captured_ns)
        with self._lock:
            self._out += 1
            self._age_ms = age_ms
        self._rate_out.tick()
        self._latency.add(latency_ms)
        self._model.add(model_ms)
        self._metrics.delivered(latency_ms=latency_ms, age_ms=age_ms)
        return latency_ms

    def failure(self) -> None:
        self._metrics.failure()

    @property
    def frames_in(self) -> int:
        return self._in

    def row(self) -> dict[str, Any]:
        """The measured part of a row of ``GET /api/sessions``; a duration is None while there is none to tell."""
        with self._lock:
            counts = {
                "frames_in": self._in,
                "frames_out": self._out,
                "frames_dropped": self._dropped,
                "frames_skipped": self._skipped,
            }
        return {
            "fps_in": round(self._rate_in.rate(), 1),
            "fps_out": round(self._rate_out.rate(), 1),
            **counts,
            "latency_ms": {
                "p50": _tenths(self._latency.percentile(50)),
                "p95": _tenths(self._latency.percentile(95)),
            },
            "model_ms": _tenths(self._model.percentile(50)),
            "condition_age_ms": _tenths(self._age_ms),
        }


def _tenths(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
