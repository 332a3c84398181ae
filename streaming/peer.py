"""One RTCPeerConnection of one client: offer to answer, tracks, the data channel, and a close that always comes.

A connection ends when the client leaves, when it never connects, when nothing comes from it any more, when its session
ends, or when ``close`` is called; whichever is first, everything it holds is let go and ``on_closed`` is called once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpTransceiver, RTCSessionDescription
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamTrack
from aiortc.sdp import candidate_from_sdp

from streaming import playout, rate, sdp
from streaming.control_channel import ControlChannel
from streaming.errors import BadRequest
from streaming.service import Json, LiveSession, Unsubscribe
from streaming.track import IncomingVideo, OutgoingVideo

logger = logging.getLogger(__name__)

_GOODBYE_TIMEOUT = 0.5
_CLOSE_TIMEOUT = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeerOptions:
    """How patient connections are, and what they speak.

    ``connect_timeout``: seconds until a connection that doesn't come up is given up. ``frame_timeout``: seconds without
    a picture from a publisher, or without any packet from a viewer that is sent pictures, until it counts as gone.
    ``codecs``: names, the preferred first.
    """

    connect_timeout: float = 10.0
    frame_timeout: float = 8.0
    codecs: tuple[str, ...] = ("H264", "VP8")


class Peer:
    """What publishers and viewers have in common. ``on_closed(peer, reason)`` is called once, on the event loop."""

    role: sdp.Role

    def __init__(
        self, session: LiveSession, options: PeerOptions, pool: Executor, on_closed: Callable[[Peer, str], None]
    ) -> None:
        self.id = secrets.token_urlsafe(9)
        #: Names this ICE session (RFC 9725 section 4.3.1).
        self.etag = f'"{secrets.token_urlsafe(9)}"'
        self.session = session
        self.options = options
        self.pool = pool
        # An empty list: aiortc takes None for a public STUN server.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.control = ControlChannel(session)
        self._on_closed = on_closed
        self._unsubscribe: list[Unsubscribe] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._session_ended = False
        self._remote: sdp.SessionDescription | None = None

    async def answer(self, offer: str) -> str:
        """The SDP answer to an offer. Raises BadRequest if there can be none; close the peer then."""
        checked = sdp.check_offer(offer, role=self.role)
        self._remote = sdp.parse(checked)
        connection = self.connection
        connection.on("connectionstatechange", self._state_changed)
        connection.on("datachannel", self.control.attach)
        self._prepare()
        try:
            await connection.setRemoteDescription(RTCSessionDescription(sdp=checked, type="offer"))
            self._refuse_audio()
            await connection.setLocalDescription(await connection.createAnswer())
        except OperationError as error:
            raise BadRequest(
                "The offer has no codec in a form spoken here; offer VP8 or H264 baseline, packetization-mode=1."
            ) from error
        except (InternalError, InvalidAccessError, InvalidStateError, ValueError) as error:
            raise BadRequest(f"The offer can't be answered: {str(error).rstrip('.')}.") from error
        self._unsubscribe.append(self.session.listen(self._hear))
        self.start(self._watch())
        return self._finished(str(connection.localDescription.sdp))

    async def add_candidates(self, values: list[str], *, end: bool) -> None:
        """Trickled candidates (the texts after ``candidate:``), and whether they were the last. Raises BadRequest."""
        assert self._remote is not None
        for value in filter(sdp.is_usable_candidate, values[: sdp.MAX_CANDIDATES]):
            try:
                candidate = candidate_from_sdp(value)
                candidate.sdpMid = sdp.bundle_mid(self._remote)
                await self.connection.addIceCandidate(candidate)
            except (ValueError, AssertionError) as error:
                raise BadRequest(f"The candidate {value!r} can't be used: {str(error).rstrip('.')}.") from error
        if end:
            await self.connection.addIceCandidate(None)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine for this connection; if it fails, that is logged and this connection alone ends."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    async def close(self, reason: str) -> None:
        """Let go of everything; returns when that is done. The first reason counts."""
        self.close_soon(reason)
        assert self._closing is not None
        await asyncio.shield(self._closing)

    def close_soon(self, reason: str) -> None:
        """As ``close``, without waiting for it."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(reason))

    def ice_ufrag(self) -> str | None:
        """The client's ICE user name fragment; another one in a PATCH means an ICE restart."""
        return self._remote.media[0].ice.usernameFragment if self._remote is not None else None

    def _prepare(self) -> None:
        """Add tracks, before the offer is applied: afterwards aiortc ignores preferences, without a word."""
        raise NotImplementedError

    def _finished(self, answer: str) -> str:
        """The answer as it is sent."""
        return answer

    def _up(self) -> None:
        """The connection came up."""

    async def _gone(self) -> str:
        """Return a reason once nothing comes from the client any more."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """Stop what the subclass started."""

    def _prefer_codecs(self, track_or_kind: MediaStreamTrack | str, direction: str) -> RTCRtpTransceiver:
        transceiver = self.connection.addTransceiver(track_or_kind, direction=direction)
        ranks = {f"video/{name}".lower(): rank for rank, name in enumerate(self.options.codecs)}
        capabilities = RTCRtpReceiver.getCapabilities("video").codecs
        known = [codec for codec in capabilities if codec.mimeType.lower() in {*ranks, "video/rtx"}]
        transceiver.setCodecPreferences(sorted(known, key=lambda codec: ranks.get(codec.mimeType.lower(), len(ranks))))
        return transceiver

    def _refuse_audio(self) -> None:
        for transceiver in self.connection.getTransceivers():
            if transceiver.kind == "audio":
                transceiver.direction = "inactive"

    def _state_changed(self) -> None:
        state = self.connection.connectionState
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self.close_soon(f"The connection {state}.")

    def _hear(self, event: Json) -> None:
        self.control.tell(event)
        if event.get("type") == "ended":
            self._session_ended = True
            self.close_soon(str(event.get("reason", "The session ended.")))

    async def _watch(self) -> None:
        try:
            await asyncio.wait_for(self._connected.wait(), self.options.connect_timeout)
        except asyncio.TimeoutError:
            self.close_soon(f"The connection didn't come up within {self.options.connect_timeout:g} s.")
            return
        self._up()
        self.close_soon(await self._gone())

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A connection of session %s failed", self.session.name, exc_info=error)
            self.close_soon("The server failed at this connection; its log says why.")

    async def _close(self, reason: str) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()
        if not self._session_ended:
            self.control.tell({"type": "ended", "reason": reason})
        self._let_go()
        for task in list(self._tasks):
            task.cancel()
        try:
            if self.connection.sctp is not None and self.connection.connectionState == "connected":
                await self.control.finish(_GOODBYE_TIMEOUT)
            await asyncio.wait_for(self.connection.close(), _CLOSE_TIMEOUT)
        except Exception:
            logger.exception("A connection of session %s didn't close cleanly", self.session.name)
        logger.info("%s connection %s of session %s closed: %s", self.role, self.id, self.session.name, reason)
        self._on_closed(self, reason)


class Publisher(Peer):
    """A client that sends its video (WHIP): its pictures go to ``session.push``."""

    role: sdp.Role = "publish"

    def __init__(
        self, session: LiveSession, options: PeerOptions, pool: Executor, on_closed: Callable[[Peer, str], None]
    ) -> None:
        super().__init__(session, options, pool, on_closed)
        self.incoming: IncomingVideo | None = None

    def _prepare(self) -> None:
        self.connection.on("track", self._track)
        self._prefer_codecs("video", "recvonly")

    def _finished(self, answer: str) -> str:
        start, most = rate.START_BITRATE // 1000, rate.MAX_BITRATE // 1000
        return sdp.hint_bitrate(answer, start_kbps=start, max_kbps=most)

    def _track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video":
            self.incoming = IncomingVideo(track, self.session.push, self.pool)
            self.start(self.incoming.run())

    async def _gone(self) -> str:
        timeout = self.options.frame_timeout
        since = time.monotonic()
        while True:
            last = max(since, self.incoming.last_at) if self.incoming is not None else since
            left = last + timeout - time.monotonic()
            if left <= 0:
                return f"No picture came for {timeout:g} s."
            await asyncio.sleep(left)


class Viewer(Peer):
    """A client that plays the painted video (WHEP)."""

    role: sdp.Role = "play"

    def __init__(
        self, session: LiveSession, options: PeerOptions, pool: Executor, on_closed: Callable[[Peer, str], None]
    ) -> None:
        super().__init__(session, options, pool, on_closed)
        self.outgoing = OutgoingVideo()

    def _prepare(self) -> None:
        playout.ask(self._prefer_codecs(self.outgoing, "sendonly").sender)

    def _up(self) -> None:
        self._unsubscribe.append(self.session.subscribe(self.outgoing.offer))

    async def _gone(self) -> str:
        """Reports (RTCP) come every second from a viewer that gets pictures; ICE alone takes 33 s to miss it."""
        timeout = self.options.frame_timeout
        heard, sent = -1, 0
        while True:
            packets = await self._packets_received()
            if packets == heard and self.outgoing.sent > sent + 1:
                return f"The viewer hasn't answered for {timeout:g} s."
            heard, sent = packets, self.outgoing.sent
            await asyncio.sleep(timeout)

    async def _packets_received(self) -> int:
        report = await self.connection.getStats()
        return sum(stats.packetsReceived for stats in report.values() if stats.type == "transport")

    def _let_go(self) -> None:
        self.outgoing.stop()
