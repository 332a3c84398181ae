"""Steadying: a session's painted pictures are made steady on the pool, beside the model, before anybody sees them."""

from __future__ import annotations

import dataclasses
import logging
import threading
from concurrent.futures import Executor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.settings import Settings
from pipelines.steady import Steady
from realtime.mailbox import Mailbox
from realtime.prepare import Prepared
from realtime.tally import Tally

log = logging.getLogger(__name__)


class Host(Protocol):
    """The session, as its steadying sees it."""

    def finished(self, prepared: Prepared, picture: NDArray[np.uint8], model_ms: float) -> None:
        """A picture may be shown. One at a time, in order, from any thread."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Fresh:
    prepared: Prepared
    picture: NDArray[np.uint8]
    model_ms: float


class Steadying:
    """Works at one picture at a time, so that their order is kept; of those that come meanwhile the newest waits.

    Without a ``steady`` (where no camera is followed), and while the settings ask for none, pictures pass straight
    through, on the thread that brings them.
    """

    def __init__(self, host: Host, *, steady: Steady | None, pool: Executor, tally: Tally) -> None:
        self._host = host
        self._steady = steady
        self._pool = pool
        self._tally = tally
        self._inbox: Mailbox[_Fresh] = Mailbox()
        self._working = threading.Lock()

    def put(self, prepared: Prepared, picture: NDArray[np.uint8], model_ms: float) -> None:
        """Take a painted picture. One thread; returns soon."""
        fresh = _Fresh(prepared=prepared, picture=picture, model_ms=model_ms)
        if self._steady is None or (not prepared.settings.steadiness and self._working.acquire(blocking=False)):
            self._pass(fresh)
        else:
            self._tally.dropped(self._inbox.put(fresh))
            self._kick()

    def close(self) -> None:
        """Take no more. May be called twice."""
        self._tally.dropped(self._inbox.close())

    def _pass(self, fresh: _Fresh) -> None:
        """One that nothing is done to; an older one that still waits has come too late."""
        try:
            self._tally.dropped(self._inbox.take_now() is not None)
            self._work(fresh)
        finally:
            if self._steady is not None:
                self._working.release()

    def _kick(self) -> None:
        """See to it that the newest picture gets shown."""
        if not self._working.acquire(blocking=False):
            return
        try:
            self._pool.submit(self._work_at_newest)
        except RuntimeError:  # it has been shut down: the server is stopping
            self._working.release()

    def _work_at_newest(self) -> None:
        try:
            fresh = self._inbox.take_now()
            if fresh is not None:
                self._work(fresh)
        finally:
            self._working.release()
        if self._inbox.waiting:
            self._kick()

    def _work(self, fresh: _Fresh) -> None:
        self._host.finished(fresh.prepared, self._steadied(fresh), fresh.model_ms)

    def _steadied(self, fresh: _Fresh) -> NDArray[np.uint8]:
        prepared = fresh.prepared
        settings: Settings = prepared.settings
        if self._steady is None:
            return fresh.picture
        try:
            return self._steady.picture(prepared.image, fresh.picture, settings, change_id=prepared.change_id)
        except Exception:  # nobody's stream ends for it
            log.exception("A picture can't be made steady; it is shown as it was painted.")
            return fresh.picture
