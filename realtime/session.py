"""Session: one user. Pictures come in, painted ones go out, settings change in between."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipelines.settings import Settings
from realtime.admission import Demand
from realtime.control import apply_patch
from realtime.easel import Easel
from realtime.fit import WHITE
from realtime.intake import Intake
from realtime.listeners import Listeners
from realtime.mailbox import Mailbox
from realtime.modes import Mode
from realtime.prepare import Prepared
from realtime.repeat import Repeater
from realtime.scheduler import MAX_FAILURES
from realtime.snapshot import Snapshot
from realtime.steadying import Steadying
from realtime.tally import Tally
from realtime.workshop import Workshop
from streaming.errors import NotADrawing
from streaming.frame import Frame
from streaming.service import Json, Unsubscribe

log = logging.getLogger(__name__)

STATS_SECONDS = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Result:
    frame: Frame
    change_id: int
    model_ms: float
    age_ms: float | None


class Session:
    """A ``streaming.service.LiveSession`` and a ``realtime.lane.Lane``.

    ``push → intake (fit, maps) → scheduler → steadying → outbox → event loop → subscribers``: at each arrow one frame
    at most waits. A session without a camera has an easel, which does the pushing. Methods are called on the event loop
    unless they say otherwise.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: Settings,
        workshop: Workshop,
        mode: Mode = "camera",
        on_end: Callable[[Session], None] | None = None,
    ) -> None:
        self._name = name
        self._mode = mode
        self._shop = workshop
        self._on_end = on_end
        self._snapshot = Snapshot(settings=settings)
        self._last_visible = 0
        self._tally = Tally(workshop.metrics)
        preparer = workshop.preparer(mode)
        self._governed = workshop.governed(mode, preparer)
        self._governed.effort(settings)
        self._intake = Intake(self, preparer=preparer, pool=workshop.pool, tally=self._tally, governed=self._governed)
        self._steadying = Steadying(self, steady=workshop.steady(mode), pool=workshop.pool, tally=self._tally)
        self._outbox: Mailbox[_Result] = Mailbox()
        self._end_reason: str | None = None
        self._subscribers: Listeners[Frame] = Listeners("viewer")
        self._listeners: Listeners[Json] = Listeners("listener")
        self._repeater = Repeater(self.show)
        self._stats_timer: asyncio.TimerHandle | None = None
        self._easel: Easel | None = None
        workshop.scheduler.add(self)
        if mode != "camera":
            self._set_up_easel()

    def _set_up_easel(self) -> None:
        paper = np.full((*self._shop.size, 3), WHITE, np.uint8)
        self._snapshot = dataclasses.replace(self._snapshot, drawing=paper, since_ns=time.monotonic_ns())
        self._easel = Easel(self, loop=self._shop.loop, patience=self._shop.patience)
        self._easel.start()

    @property
    def name(self) -> str:
        return self._name

    @property
    def viewers(self) -> int:
        return len(self._subscribers)

    @property
    def ended(self) -> bool:
        return self._end_reason is not None

    @property
    def snapshot(self) -> Snapshot:
        """What the next frame is painted with. Any thread."""
        return self._snapshot

    @property
    def governor_level(self) -> int:
        return self._governed.level

    @property
    def demand(self) -> Demand:
        """What it asks of the device, were it painted in full."""
        wanted, waits = self._tally.wanted(), [self._tally.known_in()]
        if self._easel and (left := self._easel.leaves_in()) is not None:
            waits.append(left)
        company = self._shop.company(self._mode, self._snapshot.settings)
        return Demand(company=company, fps=wanted, known_in=min((wait for wait in waits if wait > 0), default=None))

    # What the connections call.

    def push(self, frame: Frame) -> None:
        """Offer a picture. Any thread; after the end it does nothing."""
        if not self.ended:
            self._intake.push(frame)

    def draw(self, picture: NDArray[np.uint8]) -> Json:
        """Take uint8 H×W×3 as the new drawing. Raises NotADrawing where a camera is the source."""
        if self._easel is None:
            raise NotADrawing(f"Session {self._name!r} paints a camera's pictures; open one with mode 'draw' to draw.")
        return {"id": self._step(self._easel, drawing=picture)}

    def subscribe(self, deliver: Callable[[Frame], None]) -> Unsubscribe:
        """``deliver(painted)`` for each painted frame until the returned function is called."""
        remove = self._subscribers.add(deliver)
        self._tell_easel_of_viewers()

        def leave() -> None:
            remove()
            self._tell_easel_of_viewers()

        return leave

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
        shop = self._shop
        settings = apply_patch(self._snapshot.settings, patch, controls=shop.controls, loras=shop.loras)
        return {"id": self._step(self._easel, settings=settings), "settings": settings.as_dict()}

    def _step(self, easel: Easel | None, **changes: object) -> int:
        """The next snapshot; its id."""
        if easel is None:
            self._snapshot = self._snapshot.change(**changes)
        else:
            self._snapshot = self._snapshot.change(**changes, since_ns=time.monotonic_ns())
            easel.changed()
        self._governed.effort(self._snapshot.settings)
        return self._snapshot.change_id

    def status(self) -> Json:
        """A row of ``GET /api/sessions``."""
        state = "ended" if self.ended else "live" if self._tally.frames_in else "waiting"
        return {
            "name": self._name,
            "mode": self._mode,
            "state": state,
            **self._tally.row(),
            "governor": self._governed.row(),
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
        if self._easel:
            self._easel.close()
        self._intake.close()
        self._steadying.close()
        for lost in (self._shop.scheduler.remove(self), self._outbox.close()):
            self._tally.dropped(lost)
        if self._on_end:
            self._on_end(self)
        self._listeners.tell({"type": "ended", "reason": reason})
        self._listeners.clear()
        self._subscribers.clear()

    def end_soon(self, reason: str) -> None:
        """``close`` from any other thread."""
        self._on_loop(self.close, reason)

    # What the intake calls, on a thread of the pool.

    def offer(self, prepared: Prepared) -> bool:
        return self._shop.scheduler.offer(self, prepared)

    def skipped(self, frame: Frame) -> None:
        self._on_loop(self._repeater.again, frame)

    def lost(self) -> None:
        if self._easel:
            self._on_loop(self._easel.lost)

    def fall_back(self, proven: Settings, failed: Snapshot, why: str) -> None:
        self._on_loop(self._restore, proven, failed, why)

    # What the scheduler calls, on the inference thread.

    def taken(self, prepared: Prepared) -> None:
        if self._easel:
            self._on_loop(self._easel.taken, prepared.change_id)

    def painted(self, prepared: Prepared, picture: NDArray[np.uint8], model_ms: float) -> None:
        self._steadying.put(prepared, picture, model_ms)

    def failed(self, error: Exception, *, final: bool) -> None:
        self._tally.dropped()
        self._intake.failed()
        if final:
            self.end_soon(f"The model failed {MAX_FAILURES} times in a row on this session; the last time: {error}")
        self.lost()

    # What the steadying calls, there or on a thread of the pool.

    def finished(self, prepared: Prepared, picture: NDArray[np.uint8], model_ms: float) -> None:
        if self._shop.copy_stamp and self._mode == "camera":
            self._shop.copy_stamp(prepared.image, picture)
        frame, change_id = prepared.frame.replace_image(picture), prepared.change_id
        result = _Result(frame=frame, change_id=change_id, model_ms=model_ms, age_ms=prepared.age_ms)
        lost = self._outbox.put(result)
        self._tally.dropped(lost)
        if not lost:  # otherwise the delivery of the frame just displaced is still to come, and takes this one
            self._on_loop(self._deliver)
        self._intake.painted(prepared)  # behind that, so that no picture shown again is overtaken by it

    # On the event loop.

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._shop.loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            log.debug("The event loop has closed; %s is not told.", self._name)

    def _deliver(self) -> None:
        result = self._outbox.take_now()
        if result is None:  # closed since
            return
        latency_ms = self._tally.delivered(
            captured_ns=result.frame.captured_ns, model_ms=result.model_ms, age_ms=result.age_ms
        )
        self._governed.delivered(latency_ms)
        (self._easel or self._repeater).delivered(result.frame)
        self.show(result.frame)
        first, self._last_visible = self._last_visible + 1, max(self._last_visible, result.change_id)
        for change_id in range(first, self._last_visible + 1):
            self._listeners.tell({"type": "visible", "id": change_id, "seq": result.frame.seq})

    def show(self, frame: Frame) -> None:
        """Give a painted picture to all viewers."""
        self._subscribers.tell(frame)

    def _restore(self, proven: Settings, failed: Snapshot, why: str) -> None:
        """A change that can't be painted costs nobody the stream: what was before goes on, and listeners hear why."""
        if not self.ended and self._snapshot.settings is failed.settings:
            self._step(self._easel, settings=proven)
            self._listeners.tell({"type": "error", "detail": f"{why.rstrip('.')}. The settings from before go on."})

    def _tell_easel_of_viewers(self) -> None:
        if self._easel and not self.ended:
            self._easel.watched()

    def _tell_stats(self) -> None:
        self._stats_timer = None
        if self.ended or not len(self._listeners):
            return
        self._stats_timer = self._shop.loop.call_later(STATS_SECONDS, self._tell_stats)
        self._listeners.tell({"type": "stats", **self.status()})
