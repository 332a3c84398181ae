"""Capture: a thread that reads a local source (camera, file, test pattern) into a session."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streaming.source import Source

from realtime.session import Session
from streaming.errors import SourceError

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
        """Stop after the frame being read. False when the source holds it longer. May be called twice."""
        self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        reason = f"The source {self._source.name} has ended."
        try:
            while not self._stop.is_set() and (frame := self._source.read()) is not None:
                self._session.push(frame)
        except SourceError as error:
            reason = str(error)
        except Exception as error:
            log.exception("The source %s failed.", self._source.name)
            reason = f"The source {self._source.name} failed: {error}"
        finally:
            # Closed by the thread that reads: libraries don't expect to lose a device in the middle of a read.
            self._source.close()
            self._session.end_soon(reason)
