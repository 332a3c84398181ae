"""Easel: feeds a session that has no camera, shows its picture again while nothing changes, and knows when to stop."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.repeat import REPEAT_SECONDS
from realtime.snapshot import Snapshot
from realtime.walking import walks
from streaming.frame import VIDEO_TIME_BASE, Frame

#: Frames are begun no faster than this, however quick the model is.
FRAME_SECONDS = 1 / 30

#: The picture is taken from the session's snapshot when it is prepared, so that it is the newest.
_NOTHING = np.zeros((1, 1, 3), np.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """Seconds without a viewer until such a session ends: before the ``first`` came, and ``again`` after the last."""

    first: float = 30.0
    again: float = 20.0


class Host(Protocol):
    """The session, as its easel sees it."""

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def viewers(self) -> int: ...

    def push(self, frame: Frame) -> None:
        """Take a frame as if a camera had given it."""

    def show(self, frame: Frame) -> None:
        """Give a picture to all viewers, without counting it."""

    def close(self, reason: str) -> None: ...


class Easel:
    """Used on the event loop only.

    While the settings walk and somebody watches, the next frame is begun as soon as the model has taken the last one;
    otherwise one for each change. At most one waits for the model, so changes that come faster are painted together.
    """

    def __init__(self, host: Host, *, loop: asyncio.AbstractEventLoop, patience: Patience) -> None:
        self._host = host
        self._loop = loop
        self._patience = patience
        self._start_ns = time.monotonic_ns()
        self._waiting = False
        self._begun = -1  # the newest change that the model was given
        self._next_at = 0.0
        self._newest = self._settled = -1  # seq of the newest frame, and of the newest that went out
        self._shown: Frame | None = None
        self._feeder: asyncio.TimerHandle | None = None
        self._repeater: asyncio.TimerHandle | None = None
        self._leaver: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Paint the first picture, and wait for viewers."""
        self._wait_for_viewers(self._patience.first)
        self._feed()

    def close(self) -> None:
        """May be called twice."""
        self._closed = True
        for timer in (self._feeder, self._repeater, self._leaver):
            if timer:
                timer.cancel()

    def leaves_in(self) -> float | None:
        """Seconds until the session ends, if no viewer comes; None while somebody watches."""
        return None if self._leaver is None else max(0.0, self._leaver.when() - self._loop.time())

    # What the session tells.

    def changed(self) -> None:
        """The settings or the drawing did."""
        self._feed()

    def taken(self, change_id: int) -> None:
        """The model has the frame that waited; it shows everything up to this change."""
        self._waiting, self._begun = False, change_id
        self._feed()

    def lost(self) -> None:
        """A frame was lost to an error: its changes are to be painted again."""
        self._waiting, self._begun = False, -1
        self._feed()

    def delivered(self, frame: Frame) -> None:
        """A painted frame went out."""
        self._settled, self._shown = frame.seq, frame
        self._repeat_in(REPEAT_SECONDS)

    def watched(self) -> None:
        """A viewer came or left."""
        if not self._host.viewers:
            self._wait_for_viewers(self._patience.again)
            return
        if self._leaver:
            self._leaver.cancel()
            self._leaver = None
        self._repeat_in(0.0)
        self._feed()

    # Frames.

    def _feed(self) -> None:
        """Begin a frame if one is due, or see to it that this is asked again when it may be."""
        if self._closed or self._waiting or self._feeder or not self._is_due():
            return
        now = self._loop.time()
        if now < self._next_at:
            self._feeder = self._loop.call_at(self._next_at, self._feed_now)
            return
        # From when it was due, not from now: late timers would add up. After a rest the half of a frame is made up for.
        self._next_at = max(self._next_at, now - FRAME_SECONDS / 2) + FRAME_SECONDS
        self._waiting = True
        self._host.push(self._next_frame(_NOTHING))

    def _feed_now(self) -> None:
        self._feeder = None
        self._feed()

    def _is_due(self) -> bool:
        snapshot = self._host.snapshot
        return self._begun < snapshot.change_id or (self._host.viewers > 0 and walks(snapshot.settings))

    def _next_frame(self, picture: NDArray[np.uint8]) -> Frame:
        now_ns = time.monotonic_ns()
        self._newest += 1
        pts = (now_ns - self._start_ns) * VIDEO_TIME_BASE.denominator // 1_000_000_000
        return Frame(image=picture, seq=self._newest, pts=pts, captured_ns=now_ns)

    # The same picture again.

    def _repeat_in(self, seconds: float) -> None:
        if self._repeater:
            self._repeater.cancel()
        self._repeater = None if self._closed else self._loop.call_later(seconds, self._repeat)

    def _repeat(self) -> None:
        """Not while a frame is on its way, as that would come out of order, and is news anyway."""
        if not self._host.viewers:
            return
        if self._shown is not None and self._newest == self._settled:
            self._shown = self._shown.retimed(self._next_frame(_NOTHING))
            self._settled = self._newest
            self._host.show(self._shown)
        self._repeat_in(REPEAT_SECONDS)

    # Nobody there.

    def _wait_for_viewers(self, seconds: float) -> None:
        if self._leaver is None and not self._closed:
            reason = f"Nobody has watched for {seconds:g} s."
            self._leaver = self._loop.call_later(seconds, self._host.close, reason)
