"""The data channel ``control`` of one connection: settings in, answers and the session's events out, all JSON objects.

In: any subset of the settings, flat, as in ``PATCH …/settings``, and if the client likes a ``"ref"`` of its own, which
the answer repeats. Out: ``{"type": "settings", "id", "settings"}``, ``{"type": "error", "detail"}`` and what the
session itself tells (``visible``, ``stats``, ``ended``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

from aiortc import RTCDataChannel

from streaming.errors import BadRequest, StreamingError
from streaming.service import Json, LiveSession

logger = logging.getLogger(__name__)

LABEL = "control"
#: Longest message taken, in characters: a prompt has 500.
MAX_MESSAGE = 16_384
#: Bytes waiting for a slow reader above which statistics are left out, and above which everything is.
SLOW_READER = 16_384
DEAD_READER = 262_144


class ControlChannel:
    """Speaks for one session on the channels named ``control`` that the client opens (one, or none)."""

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        self._channel: RTCDataChannel | None = None
        self._attached = asyncio.Event()
        self._last_words: Json | None = None

    def attach(self, channel: RTCDataChannel) -> None:
        """Take a channel that the client opened; others than ``control`` are closed."""
        if channel.label != LABEL or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.on("message", self._receive)
        self._attached.set()
        if self._last_words is not None:
            self.tell(self._last_words)

    def tell(self, event: Json) -> None:
        """Send an event, if there is a reader; one that doesn't keep up misses statistics first."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            if event.get("type") == "ended":
                self._last_words = event
            return
        limit = SLOW_READER if event.get("type") == "stats" else DEAD_READER
        if channel.bufferedAmount > limit:
            return
        channel.send(json.dumps(event))

    async def finish(self, timeout: float) -> None:
        """Close the channel once what was said has arrived, or the time is over (seconds).

        A client whose channel is still on its way hears the last words too, so call this only if it offered one.
        """
        if self._last_words is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._attached.wait(), timeout)
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return
        closed = asyncio.Event()
        channel.on("close", closed.set)
        channel.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(closed.wait(), timeout)

    def _receive(self, message: str | bytes) -> None:
        try:
            patch = _parse(message)
        except BadRequest as error:
            self.tell({"type": "error", "detail": str(error)})
            return
        ref = {"ref": patch.pop("ref")} if "ref" in patch else {}
        try:
            self.tell({"type": "settings", **self._session.change(patch), **ref})
        except StreamingError as error:
            self.tell({"type": "error", "detail": str(error), **ref})
        except Exception:
            logger.exception("A settings message of session %s failed", self._session.name)
            self.tell({"type": "error", "detail": "The server failed at this message; its log says why.", **ref})


def _parse(message: str | bytes) -> Json:
    if isinstance(message, bytes):
        raise BadRequest("Send text: a JSON object with the settings to change.")
    if len(message) > MAX_MESSAGE:
        raise BadRequest(f"The message has {len(message)} characters; at most {MAX_MESSAGE} are taken.")
    try:
        patch = json.loads(message)
    except (ValueError, RecursionError):
        raise BadRequest("The message isn't JSON; send an object with the settings to change.") from None
    if not isinstance(patch, dict):
        raise BadRequest("The message must be a JSON object with the settings to change.")
    return patch
