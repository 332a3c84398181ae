"""Session: one user. Camera pictures come in, painted ones go out, settings change in between."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.settings import Settings
from realtime.control import apply_patch
from realtime.listeners import Listeners
from realtime.mailbox import Mailbox
from realtime.metrics import Metrics
from realtime.prepare import Prepared, Preparer
from realtime.scheduler import MAX_FAILURES, Scheduler
from realtime.tally import Tally
from streaming.frame import Frame
from streaming.service import Json, Unsubscribe

log = logging.getLogger(__name__)

STATS_SECONDS = 0.5

#: ``streaming.stamp.copy``: takes the stamp of the first picture over into the second.
CopyStamp = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """What all sessions of a server share."""

    loop: asyncio.AbstractEventLoop
    scheduler: Scheduler
    preparer: Preparer
    pool: Executor
    metrics: Metrics
    controls: Collection[str]
    copy_stamp: CopyStamp | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Result:
    frame: Frame
    change_id: int
    model_ms: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Snapshot:
    """Settings and the id of the change that made them, replaced as one."""

    settings: Settings
    change_id: int = 0


class Session:
    """A ``streaming.service.LiveSession`` and a ``realtime.scheduler.Lane``.

    ``push → inbox → pool (crop, resize, edges) → scheduler → outbox → event loop → subscribers``: at each arrow one
    frame at most waits. Methods are called on the event loop unless they say otherwise.
    """

    def __init__(
        self, name: str, *, settings: Settings, workshop: Workshop, on_end: Callable[[Session], None] | None = None
    ) -> None:
        self._name = name
        self._shop = workshop
        self._on_end = on_end
        self._snapshot = _Snapshot(settings=settings)
        self._last_visible = 0
        self._tally = Tally(workshop.metrics)
        self._inbox: Mailbox[Frame] = Mailbox()
        self._outbox: Mailbox[_Result] = Mailbox()
        self._preparing = threading.Lock()
        self._bad_pictures = 0
        self._next_seq: int | None = None
        self._end_reason: str | None = None
        self._subscribers: Listeners[Frame] = Listeners("viewer")
        self._listeners: Listeners[Json] = Listeners("listener")
        self._stats_timer: asyncio.TimerHandle | None = None
        workshop.scheduler.add(self)

    @property
    def name(self) -> str:
        return self._name

    @property
    def viewers(self) -> int:
        return len(self._subscribers)

    @property
    def ended(self) -> bool:
        return self._end_reason is not None

    # What the connections call.

    def push(self, frame: Frame) -> None:
        """Offer a camera picture. Any thread; after the end it does nothing."""
        if self.ended:
            return
        for _ in range(self._missed_before(frame)):
            self._tally.arrived()
            self._tally.dropped()
        self._tally.arrived()
        self._tally.dropped(self._inbox.put(frame))
        self._kick()

    def subscribe(self, deliver: Callable[[Frame], None]) -> Unsubscribe:
        """``deliver(painted)`` for each painted frame until the returned function is called."""
        return self._subscribers.add(deliver)

    def listen(self, tell: Callable[[Json], None]) -> Unsubscribe:
        """``tell(event)`` for each event; of a session that has ended already, soon and only that."""
        if self.ended:
            self._shop.loop.call_soon(tell, {"type": "ended", "reason": self._end_reason})
            return lambda: None
        if self._stats_timer is None:
            self._stats_timer = self._shop.loop.call_later(STATS_SECONDS, self._tell_stats)
        return self._listeners.add(tell)

    def settings(self) -> Json:
        return self._snapshot.settings.as_dict()

    def change(self, patch: object) -> Json:
        """Apply a subset of the settings. Raises BadRequest, and then changes nothing."""
        old = self._snapshot
        settings = apply_patch(old.settings, patch, controls=self._shop.controls)
        self._snapshot = _Snapshot(settings=settings, change_id=old.change_id + 1)
        return {"id": old.change_id + 1, "settings": settings.as_dict()}

    def status(self) -> Json:
        """A row of ``GET /api/sessions``."""
        state = "ended" if self.ended else "live" if self._tally.frames_in else "waiting"
        return {
            "name": self._name,
            "state": state,
            **self._tally.row(),
            "viewers": self.viewers,
            "settings": self.settings(),
        }

    def close(self, reason: str) -> None:
        """End it and tell the listeners why. May be called twice."""
        if self.ended:
            return
        self._end_reason = reason
        if self._stats_timer:
            self._stats_timer.cancel()
        for lost in (self._shop.scheduler.remove(self), self._inbox.close(), self._outbox.close()):
            self._tally.dropped(lost)
        if self._on_end:
            self._on_end(self)
        self._listeners.tell({"type": "ended", "reason": reason})
        self._listeners.clear()
        self._subscribers.clear()

    def end_soon(self, reason: str) -> None:
        """``close`` from any other thread."""
        self._on_loop(self.close, reason)

    # What the scheduler calls, on the inference thread.

    def painted(self, prepared: Prepared, picture: NDArray[np.uint8], model_ms: float) -> None:
        if self._shop.copy_stamp:
            self._shop.copy_stamp(prepared.image, picture)
        frame = prepared.frame.replace_image(picture)
        lost = self._outbox.put(_Result(frame=frame, change_id=prepared.change_id, model_ms=model_ms))
        self._tally.dropped(lost)
        if not lost:  # otherwise the delivery of the frame just displaced is still to come, and takes this one
            self._on_loop(self._deliver)

    def failed(self, error: Exception, *, final: bool) -> None:
        self._tally.dropped()
        if final:
            self.end_soon(f"The model failed {MAX_FAILURES} times in a row on this session; the last time: {error}")

    def _missed_before(self, frame: Frame) -> int:
        """How many pictures the source itself dropped since the last one: they came in too, and are counted."""
        expected, self._next_seq = self._next_seq, frame.seq + 1
        return 0 if expected is None else max(0, frame.seq - expected)

    # Between the two: the pool.

    def _kick(self) -> None:
        """See to it that the newest picture gets prepared. One at a time, so that the order is kept."""
        if self._preparing.acquire(blocking=False):
            try:
                self._shop.pool.submit(self._prepare_newest)
            except RuntimeError:  # the pool has been shut down: the server is stopping
                self._preparing.release()

    def _prepare_newest(self) -> None:
        try:
            frame = self._inbox.take_now()
            if frame is not None:
                self._prepare(frame)
        finally:
            self._preparing.release()
        if self._inbox.waiting:
            self._kick()

    def _prepare(self, frame: Frame) -> None:
        snapshot = self._snapshot
        try:
            prepared = self._shop.preparer(frame, snapshot.settings, snapshot.change_id)
        except Exception as error:
            self._count_bad_picture(error)
        else:
            self._bad_pictures = 0
            self._tally.dropped(self._shop.scheduler.offer(self, prepared))

    def _count_bad_picture(self, error: Exception) -> None:
        log.exception("A picture of session %s can't be prepared.", self._name)
        self._tally.dropped()
        self._tally.failure()
        self._bad_pictures += 1
        if self._bad_pictures >= MAX_FAILURES:
            self.end_soon(f"{MAX_FAILURES} pictures in a row could not be prepared; the last one: {error}")

    # Back on the event loop.

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._shop.loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            log.debug("The event loop has closed; %s is not told.", self._name)

    def _deliver(self) -> None:
        result = self._outbox.take_now()
        if result is None:  # closed since
            return
        self._tally.delivered(captured_ns=result.frame.captured_ns, model_ms=result.model_ms)
        self._subscribers.tell(result.frame)
        first, self._last_visible = self._last_visible + 1, max(self._last_visible, result.change_id)
        for change_id in range(first, self._last_visible + 1):
            self._listeners.tell({"type": "visible", "id": change_id, "seq": result.frame.seq})

    def _tell_stats(self) -> None:
        self._stats_timer = None
        if self.ended or not len(self._listeners):
            return
        self._stats_timer = self._shop.loop.call_later(STATS_SECONDS, self._tell_stats)
        self._listeners.tell({"type": "stats", **self.status()})
