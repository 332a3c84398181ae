"""WebRTC clients for tests: a WHIP publisher and a WHEP viewer on aiortc, and an application on a real socket.

    async with serve(make_app(hub)) as server:                        # server.url, server.http (aiohttp.ClientSession)
        async with await Publisher.start(server, name="me") as publisher, await Viewer.start(server, "me") as viewer:
            seen = await viewer.see(10)                               # waits for ten more pictures: list[Seen]
            reply = await publisher.control.change(prompt="ink")      # over the data channel; waits for the answer
            event = await publisher.control.event("visible")          # waits for an event of that type

``Publisher.start(server, name=None, token=None, size=(256, 256), fps=30, codec=None, audio=False, control=True)`` sends
a moving picture that carries a stamp (``streaming.stamp``); ``codec`` is "VP8", "H264" or None for aiortc's own order.
``publisher.name``, ``.location``, ``.etag``, ``.sent`` (pictures made), ``.codec`` (the negotiated one).
``Viewer.start(server, name, token=None, codec=None, control=True)``: ``viewer.seen`` is every picture as ``Seen``.
Both: ``control`` (see ``Control``), ``close()`` (DELETE, then the connection), ``vanish()`` (the sockets go, without a
word, as a client does whose machine lost its network), ``connected()``. Each wait has a deadline and then fails with
AssertionError, saying what it saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import av
import numpy as np
from aiohttp import web
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError

from streaming import stamp
from streaming.frame import VIDEO_TIME_BASE

DEADLINE = 15.0


def now_ms() -> int:
    """The clock that test pictures are stamped with."""
    return time.monotonic_ns() // 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """One picture that a viewer got. ``stamp`` is None where it couldn't be read; ``age_ms`` then too."""

    image: np.ndarray
    pts: int
    at: float
    stamp: stamp.Stamp | None
    age_ms: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Server:
    """An application that listens. ``http`` sends no token by itself."""

    url: str
    http: aiohttp.ClientSession


@contextlib.asynccontextmanager
async def serve(app: web.Application) -> AsyncIterator[Server]:
    """Listen on a free port of 127.0.0.1 until the block ends; then shut the application down."""
    runner = web.AppRunner(app, shutdown_timeout=2.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as http:
            yield Server(url=f"http://127.0.0.1:{port}", http=http)
    finally:
        await runner.cleanup()


async def eventually(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Wait until ``condition()`` holds. AssertionError with ``what`` after ``deadline`` seconds."""
    until = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < until, f"Not within {deadline:g} s: {what}"
        await asyncio.sleep(0.01)


def new_connection() -> RTCPeerConnection:
    """A connection that asks no STUN server."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def make_offer(connection: RTCPeerConnection) -> str:
    """The offer with all candidates."""
    await connection.setLocalDescription(await connection.createOffer())
    return str(connection.localDescription.sdp)


def prefer(connection: RTCPeerConnection, codec: str | None) -> None:
    """Offer only that video codec (and its retransmissions)."""
    if codec is None:
        return
    wanted = {f"video/{codec}".lower(), "video/rtx"}
    capabilities = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType.lower() in wanted]
    for transceiver in connection.getTransceivers():
        if transceiver.kind == "video":
            transceiver.setCodecPreferences(capabilities)


def cut_off(connection: RTCPeerConnection) -> None:
    """Close the connection's sockets under it: nothing leaves any more, no goodbye, and nothing arrives."""
    for transceiver in connection.getTransceivers():
        for protocol in transceiver.receiver.transport.transport._connection._protocols:
            protocol.transport.abort()


class MovingPicture(MediaStreamTrack):
    """A stamped picture that moves, ``fps`` times a second; ``size`` is (height, width)."""

    kind = "video"

    def __init__(self, size: tuple[int, int] = (256, 256), fps: float = 30) -> None:
        super().__init__()
        self.sent = 0
        self._fps = fps
        self._start: float | None = None
        rows, columns = np.mgrid[: size[0], : 2 * size[1]]
        stripes = np.stack([columns % 256, rows % 256, (rows + columns) // 2 % 256], axis=-1)
        self._background = stripes.astype(np.uint8)
        self._width = size[1]

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        if self._start is None:
            self._start = time.monotonic()
        await asyncio.sleep(max(0.0, self._start + self.sent / self._fps - time.monotonic()))
        shift = self.sent * 2 % self._width
        image = np.ascontiguousarray(self._background[:, shift : shift + self._width])
        stamp.draw(image, self.sent, now_ms())
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        picture.pts = int(self.sent * 90_000 / self._fps)
        picture.time_base = VIDEO_TIME_BASE
        self.sent += 1
        return picture


class Control:
    """The client's end of the data channel ``control``."""

    def __init__(self, channel: RTCDataChannel) -> None:
        self.channel = channel
        #: Every message that came, in order.
        self.messages: list[dict[str, Any]] = []
        self._came = asyncio.Event()
        self._refs = 0
        channel.on("message", self._message)

    async def opened(self) -> None:
        await eventually(lambda: self.channel.readyState == "open", "the control channel opens")

    async def send(self, message: object) -> None:
        """Send JSON, or text and bytes as they are."""
        await self.opened()
        self.channel.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def change(self, **settings: Any) -> dict[str, Any]:
        """Change settings and wait for the answer, whether ``settings`` or ``error``."""
        self._refs += 1
        ref = f"ref-{self._refs}"
        await self.send({**settings, "ref": ref})
        return await self.message(lambda message: message.get("ref") == ref, f"the answer to {settings}")

    async def event(self, type: str) -> dict[str, Any]:
        """The first message of that type, past or to come."""
        return await self.message(lambda message: message.get("type") == type, f"an event {type}")

    async def message(self, matches: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The first message that matches, past or to come."""
        await eventually(
            lambda: any(matches(message) for message in self.messages), f"{what} (so far {self.messages[-5:]})"
        )
        return next(message for message in self.messages if matches(message))

    def _message(self, text: str) -> None:
        self.messages.append(json.loads(text))


class Client:
    """What publisher and viewer share."""

    def __init__(self, server: Server, token: str | None, control: bool) -> None:
        self.server = server
        self.connection = new_connection()
        self.location = self.etag = self.codec = ""
        self.answer = ""
        self._headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._control = Control(self.connection.createDataChannel("control")) if control else None

    @property
    def control(self) -> Control:
        assert self._control is not None, "started with control=False"
        return self._control

    async def post(self, path: str) -> None:
        """Offer, and apply the answer."""
        headers = {**self._headers, "Content-Type": "application/sdp"}
        offer = await make_offer(self.connection)
        async with self.server.http.post(self.server.url + path, data=offer, headers=headers) as response:
            text = await response.text()
            assert response.status == 201, f"{response.status}: {text}"
            self.location, self.etag, self.answer = response.headers["Location"], response.headers["ETag"], text
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=text, type="answer"))
        self.codec = next(t for t in self.connection.getTransceivers() if t.kind == "video")._codecs[0].name

    async def connected(self) -> None:
        await eventually(lambda: self.connection.connectionState == "connected", "the connection comes up")

    async def delete(self) -> int:
        """DELETE the resource; the status."""
        async with self.server.http.delete(self.server.url + self.location, headers=self._headers) as response:
            return response.status

    async def close(self) -> None:
        """Say goodbye: DELETE, then close. Also after the server did first, and twice."""
        if self.location:
            with contextlib.suppress(aiohttp.ClientError):
                await self.delete()
        self.location = ""
        await self.connection.close()

    async def vanish(self) -> None:
        """Go without a word."""
        cut_off(self.connection)
        self.location = ""
        await self.connection.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


class Publisher(Client):
    """A WHIP client that sends a stamped moving picture."""

    picture: MovingPicture

    @classmethod
    async def start(
        cls,
        server: Server,
        name: str | None = None,
        *,
        token: str | None = None,
        size: tuple[int, int] = (256, 256),
        fps: float = 30,
        codec: str | None = None,
        audio: bool = False,
        control: bool = True,
    ) -> Publisher:
        """Publish and wait until the connection is up. AssertionError with the server's words if it refuses."""
        publisher = cls(server, token, control)
        publisher.picture = MovingPicture(size, fps)
        if audio:
            publisher.connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
        publisher.connection.addTransceiver(publisher.picture, direction="sendonly")
        prefer(publisher.connection, codec)
        try:
            await publisher.post("/whip" if name is None else f"/whip?session={name}")
            await publisher.connected()
        except BaseException:
            await publisher.close()
            raise
        return publisher

    @property
    def name(self) -> str:
        """The session's name."""
        return self.location.rsplit("/", 1)[-1]

    @property
    def sent(self) -> int:
        """Pictures made so far."""
        return self.picture.sent


class Viewer(Client):
    """A WHEP client that keeps what it sees."""

    seen: list[Seen]

    @classmethod
    async def start(
        cls, server: Server, name: str, *, token: str | None = None, codec: str | None = None, control: bool = True
    ) -> Viewer:
        """Play a session and wait until the connection is up."""
        viewer = cls(server, token, control)
        viewer.seen = []
        viewer.connection.addTransceiver("video", direction="recvonly")
        viewer.connection.on("track", viewer._track)
        prefer(viewer.connection, codec)
        try:
            await viewer.post(f"/whep/{name}")
            await viewer.connected()
        except BaseException:
            await viewer.close()
            raise
        return viewer

    async def see(self, count: int, deadline: float = DEADLINE) -> list[Seen]:
        """Wait for ``count`` more pictures."""
        start = len(self.seen)
        await eventually(
            lambda: len(self.seen) >= start + count, f"{count} more pictures after the first {start}", deadline
        )
        return self.seen[start : start + count]

    def _track(self, track: MediaStreamTrack) -> None:
        self._watching = asyncio.ensure_future(self._watch(track))

    async def _watch(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                picture = await track.recv()
                image = picture.to_ndarray(format="rgb24")
                read = stamp.read(image)
                age = read.age_ms(now_ms()) if read is not None else None
                self.seen.append(Seen(image=image, pts=picture.pts, at=time.monotonic(), stamp=read, age_ms=age))
