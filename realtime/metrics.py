"""What Prometheus may ask: counters, histograms and gauges of one server, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """No label holds anything a client chose, so the page stays small however many sessions come and go."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        names: Any = {"namespace": "sdxs_live", "registry": self._registry}
        self._in = Counter("frames_in", "Pictures that arrived, or were begun without a camera.", **names)
        self._out = Counter("frames_out", "Painted pictures that were delivered.", **names)
        self._dropped = Counter("frames_dropped", "Pictures displaced by a newer one, or lost to an error.", **names)
        self._skipped = Counter("frames_skipped", "Pictures that looked like the last painted one.", **names)
        self._refused = Counter("sessions_refused", "Sessions that the device had no time for.", **names)
        self._failures = Counter("failures", "Forwards and preparations that raised.", **names)
        self._latency = Histogram("latency_seconds", "From capture to delivery.", buckets=_SECONDS, **names)
        self._age = Histogram(
            "condition_age_seconds",
            "How much older than its picture the condition map of a slow network was.",
            buckets=_SECONDS,
            **names,
        )
        self._model = Histogram("model_seconds", "One forward of the model.", buckets=_SECONDS, **names)
        self._batch = Histogram("batch_size", "Pictures in one forward.", buckets=(1, 2, 4, 8, 16, 32), **names)
        self._sessions = Gauge("sessions", "Live sessions.", **names)
        self._viewers = Gauge("viewers", "Subscribers of all sessions.", **names)
        self._displaced = Gauge("maps_displaced", "Pictures that a busy map network left for a newer one.", **names)
        self._ready = Gauge("ready", "1 once the model is loaded and warm.", **names)
        self._governed = Gauge("governor_level", "The furthest that any session's governor has gone.", **names)
        self._governing = Gauge("sessions_governed", "Sessions whose governor saves something now.", **names)

    def watch(
        self,
        *,
        sessions: Callable[[], float],
        viewers: Callable[[], float],
        ready: Callable[[], float],
        displaced: Callable[[], float],
        levels: Callable[[], Sequence[int]],
    ) -> None:
        """Where the gauges get their values from when the page is asked for. ``levels``: the sessions' governors'."""
        self._sessions.set_function(sessions)
        self._viewers.set_function(viewers)
        self._ready.set_function(ready)
        self._displaced.set_function(displaced)
        self._governed.set_function(lambda: max(levels(), default=0))
        self._governing.set_function(lambda: sum(level > 0 for level in levels()))

    def arrived(self) -> None:
        self._in.inc()

    def dropped(self, count: int = 1) -> None:
        self._dropped.inc(count)

    def skipped(self) -> None:
        self._skipped.inc()

    def refused(self) -> None:
        self._refused.inc()

    def delivered(self, *, latency_ms: float, age_ms: float | None = None) -> None:
        self._out.inc()
        self._latency.observe(latency_ms / 1e3)
        if age_ms is not None:
            self._age.observe(age_ms / 1e3)

    def forward(self, *, batch: int, model_ms: float) -> None:
        self._batch.observe(batch)
        self._model.observe(model_ms / 1e3)

    def failure(self) -> None:
        self._failures.inc()

    def page(self) -> tuple[bytes, str]:
        """The text exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
