"""Capture: a thread that reads a local source (camera, file, test pattern) into a session."""

from __future__ import annotations

import logging
import threading

from realtime.session import Session
from streaming.errors import SourceError
from streaming.source import Source

log = logging.getLogger(__name__)


class Capture:
    """Reads until the source or the session ends, then closes the source and ends the session with the reason."""

    def __init__(self, source: Source, session: Session) -> None:
        self._source = source
        self._session = session
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> bool:
        """Stop. False when the source can't let go within ``timeout`` seconds. May be called twice."""
        self._stop.set()
        # Closing wakes a reader that waits for its time, but has itself to wait for one inside a camera's driver.
        threading.Thread(target=self._source.close, name="capture-close", daemon=True).start()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        reason = f"The source {self._source.name} has ended."
        try:
            while not (self._stop.is_set() or self._session.ended) and (frame := self._source.read()) is not None:
                self._session.push(frame)
        except SourceError as error:
            reason = str(error)
        except Exception as error:
            log.exception("The source %s failed.", self._source.name)
            reason = f"The source {self._source.name} failed: {error}"
        finally:
            self._source.close()
            if not (self._stop.is_set() or self._session.ended):
                log.warning("Session %s: %s", self._session.name, reason)
            self._session.end_soon(reason)
