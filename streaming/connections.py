"""All connections of this process, and which session each belongs to."""

from __future__ import annotations

import asyncio
import logging
import re
from concurrent.futures import ThreadPoolExecutor

from streaming import encoder, playout, rtp, sdp
from streaming.errors import BadRequest, NoFreePlace, NoSuchSession
from streaming.peer import Peer, PeerOptions, Publisher, Viewer
from streaming.service import SessionHub

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Connections:
    """Opens, finds and closes publishers and viewers. Call it on the event loop."""

    def __init__(self, hub: SessionHub, options: PeerOptions) -> None:
        rtp.apply()
        encoder.apply()
        playout.apply()
        self._hub = hub
        self._options = options
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="to-rgb")
        self._publishers: dict[str, Publisher] = {}
        self._viewers: dict[tuple[str, str], Viewer] = {}
        self._closed = False

    async def publish(self, name: str | None, offer: str) -> tuple[Publisher, str]:
        """A new session for the offer's video, and the answer. Raises BadRequest, NameTaken or NoFreePlace."""
        if name is not None and not _NAME.fullmatch(name):
            raise BadRequest("A session's name has 1 to 64 letters, digits, - or _.")
        sdp.check_offer(offer, role="publish")
        self._check_ready()
        session = self._hub.open(name)
        peer = Publisher(session, self._options, self._pool, self._publisher_closed)
        self._publishers[session.name] = peer
        return peer, await self._answer(peer, offer)

    async def play(self, name: str, offer: str) -> tuple[Viewer, str]:
        """A new viewer of a session, and the answer. Raises BadRequest, NoSuchSession or NoFreePlace."""
        session = self._hub.get(name)
        sdp.check_offer(offer, role="play")
        self._check_ready()
        peer = Viewer(session, self._options, self._pool, self._viewer_closed)
        self._viewers[session.name, peer.id] = peer
        return peer, await self._answer(peer, offer)

    def publisher(self, name: str) -> Publisher:
        """Raises NoSuchSession."""
        if name not in self._publishers:
            raise NoSuchSession(f"No publisher is connected as {name!r}; it has left, or never was here.")
        return self._publishers[name]

    def viewer(self, name: str, viewer: str) -> Viewer:
        """Raises NoSuchSession."""
        if (name, viewer) not in self._viewers:
            raise NoSuchSession(
                f"No viewer {viewer!r} of session {name!r} is connected; it has left, or never was here."
            )
        return self._viewers[name, viewer]

    def all(self) -> list[Peer]:
        """Every connection that is open or closing."""
        return [*self._publishers.values(), *self._viewers.values()]

    async def close(self, timeout: float = 5.0) -> None:
        """Close every connection, within ``timeout`` seconds. Twice is harmless."""
        self._closed = True
        closing = [asyncio.ensure_future(peer.close("The server shuts down.")) for peer in self.all()]
        if closing:
            _, late = await asyncio.wait(closing, timeout=timeout)
            for task in late:
                task.cancel()
            if late:
                logger.warning("%d connections didn't close within %g s.", len(late), timeout)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _check_ready(self) -> None:
        if self._closed:
            raise NoFreePlace("The server shuts down.")
        if (waiting := self._hub.ready()) is not None:
            raise NoFreePlace(waiting)

    async def _answer(self, peer: Peer, offer: str) -> str:
        try:
            return await peer.answer(offer)
        except BaseException as error:
            await peer.close(f"The offer couldn't be answered: {error}")
            raise

    def _publisher_closed(self, peer: Peer, reason: str) -> None:
        if self._publishers.get(peer.session.name) is peer:
            del self._publishers[peer.session.name]
            self._hub.close(peer.session.name, reason=reason)

    def _viewer_closed(self, peer: Peer, reason: str) -> None:
        self._viewers.pop((peer.session.name, peer.id), None)
