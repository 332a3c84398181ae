"""Intake: the way of one session's pictures to the model, through the pool. The newest wins."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import PipelineError
from pipelines.settings import Settings
from realtime.errors import RealtimeError
from realtime.governed import Governed
from realtime.mailbox import Mailbox
from realtime.prepare import Prepared, Preparer
from realtime.scheduler import MAX_FAILURES
from realtime.similar import Look, StillScene, blocks_of
from realtime.snapshot import Snapshot
from realtime.tally import Tally
from realtime.walking import Walker
from streaming.frame import Frame

log = logging.getLogger(__name__)


class Host(Protocol):
    """The session, as its intake sees it. Called on a thread of the pool."""

    @property
    def name(self) -> str: ...

    @property
    def snapshot(self) -> Snapshot: ...

    def offer(self, prepared: Prepared) -> bool:
        """Leave it for the model. True when a frame was lost by it."""

    def skipped(self, frame: Frame) -> None:
        """A picture need not be painted: the last one shows the same, and no other is on its way."""

    def lost(self) -> None:
        """A picture could not be prepared."""

    def fall_back(self, proven: Settings, failed: Snapshot, why: str) -> None:
        """Nothing can be prepared with the settings of ``failed``; with ``proven`` it could."""

    def end_soon(self, reason: str) -> None: ...


class Intake:
    """Prepares one picture at a time, so that their order is kept; of those that come meanwhile the newest waits."""

    def __init__(
        self, host: Host, *, preparer: Preparer, pool: Executor, tally: Tally, governed: Governed | None = None
    ) -> None:
        self._host = host
        self._preparer = preparer
        self._pool = pool
        self._tally = tally
        self._governed = governed
        self._walker = Walker()
        self._scene = StillScene()
        self._inbox: Mailbox[Frame] = Mailbox()
        self._preparing = threading.Lock()
        self._bad_pictures = 0
        self._proven: Settings | None = None  # the last that a picture could be prepared with
        self._shown_change = 0
        self._next_seq: int | None = None

    def push(self, frame: Frame) -> None:
        """Take a picture. Any thread, but one at a time."""
        for _ in range(self._missed_before(frame)):
            self._tally.arrived()
            self._tally.dropped()
        self._tally.arrived()
        if self._governed and not self._governed.lets_through():
            self._tally.dropped()
            return
        self._tally.dropped(self._inbox.put(frame))
        self._kick()

    def painted(self, prepared: Prepared) -> None:
        """A picture came back from the model. Any thread."""
        self._scene.painted(prepared.look)

    def failed(self) -> None:
        """One was lost to an error there. Any thread."""
        self._scene.forget()

    def close(self) -> None:
        """Take no more, and wake a picture that waits for its first map. May be called twice."""
        self._tally.dropped(self._inbox.close())
        self._preparer.close()

    def _missed_before(self, frame: Frame) -> int:
        """How many pictures the source itself dropped since the last one: they came in too, and are counted."""
        expected, self._next_seq = self._next_seq, frame.seq + 1
        return 0 if expected is None else max(0, frame.seq - expected)

    def _kick(self) -> None:
        """See to it that the newest picture gets prepared."""
        if self._preparing.acquire(blocking=False):
            self._submit(self._pool, self._choose_room)

    def _submit(self, pool: Executor, work: Callable[..., None], *arguments: object) -> None:
        """Work that lets go of ``_preparing`` when it is done."""
        try:
            pool.submit(work, *arguments)
        except RuntimeError:  # it has been shut down: the server is stopping
            self._preparing.release()

    def _choose_room(self) -> None:
        """Who has to wait for a network's first map doesn't do so on a thread that all sessions need."""
        snapshot = self._host.snapshot
        room = self._preparer.waiting_room(snapshot.settings)
        if room:
            self._submit(room, self._prepare_newest, snapshot)
        else:
            self._prepare_newest(snapshot)

    def _prepare_newest(self, snapshot: Snapshot) -> None:
        try:
            frame = self._inbox.take_now()
            if frame is not None:
                self._prepare(frame, snapshot)
        finally:
            self._preparing.release()
        if self._inbox.waiting:
            self._kick()
        if self._inbox.closed:  # the close may have come before what this picture opened
            self._preparer.close()

    def _prepare(self, frame: Frame, snapshot: Snapshot) -> None:
        if snapshot.drawing is not None:
            frame = frame.replace_image(snapshot.drawing)
        try:
            image = self._preparer.fitted(frame)
            look = self._look_at(image, frame, snapshot)
            if look and self._scene.is_still(look, snapshot):
                self._skip(frame)
                return
            settings = self._walker(snapshot.settings, frame.captured_ns)
            effort = self._governed.effort(settings) if self._governed else None
            prepared = self._preparer.draw(frame, image, settings, change_id=snapshot.change_id, effort=effort)
        except Exception as error:
            self._fail(error, snapshot)
        else:
            self._bad_pictures, self._proven = 0, snapshot.settings
            self._give(self._admit(prepared, snapshot), look)

    def _look_at(self, image: NDArray[np.uint8], frame: Frame, snapshot: Snapshot) -> Look | None:
        """Only where a camera's pictures may be skipped: otherwise each of them is painted for a reason."""
        if not snapshot.settings.skip_similar or snapshot.drawing is not None:
            return None
        return Look(blocks=blocks_of(image), captured_ns=frame.captured_ns)

    def _skip(self, frame: Frame) -> None:
        self._tally.skipped()
        if self._scene.rests:
            self._host.skipped(frame)

    def _give(self, prepared: Prepared, look: Look | None) -> None:
        """To the model, as the newest of this session."""
        if look:
            map_ns = look.captured_ns - (prepared.age_ms or 0.0) * 1e6
            look = dataclasses.replace(look, change_id=prepared.change_id, map_ns=map_ns)
            prepared = dataclasses.replace(prepared, look=look)
            self._scene.given(look)
        lost = self._host.offer(prepared)
        self._tally.dropped(lost)
        if lost and look:
            self._scene.displaced()

    def _admit(self, prepared: Prepared, snapshot: Snapshot) -> Prepared:
        """A map from before the snapshot doesn't show its change yet: such a frame stands for the one before it."""
        age_ms = prepared.age_ms
        if age_ms is not None and prepared.frame.captured_ns - age_ms * 1e6 < snapshot.since_ns:
            return dataclasses.replace(prepared, change_id=self._shown_change)
        self._shown_change = prepared.change_id
        return prepared

    def _fail(self, error: Exception, snapshot: Snapshot) -> None:
        self._tally.dropped()
        if self._inbox.closed:  # it was woken by the end
            return
        log.error("A picture of session %s can't be prepared.", self._host.name, exc_info=error)
        self._tally.failure()
        self._bad_pictures += 1
        # Our own exceptions say what is missing, and another picture won't bring it.
        hopeless = self._bad_pictures >= MAX_FAILURES or isinstance(error, PipelineError | RealtimeError)
        if hopeless and self._proven and self._proven is not snapshot.settings:
            self._bad_pictures = 0
            self._host.fall_back(self._proven, snapshot, str(error))
        elif self._bad_pictures >= MAX_FAILURES:
            self._host.end_soon(f"{MAX_FAILURES} pictures in a row could not be prepared; the last one: {error}")
        self._host.lost()
