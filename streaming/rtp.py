"""Repairs that aiortc's video receiver needs (aiortc 1.14 to 1.16), each with its reason.

Marker: aiortc gives a picture out when the first packet of the *next* one comes, one frame time late. The RTP marker
bit says which packet is the last of its picture (RFC 7741 section 4.1, RFC 6184 section 5.1); a picture complete up to
its marker can go at once.

Backlog: it gives out at most one picture a packet. After a gap is filled, the pictures that waited behind it would stay
behind for good when each picture is one packet.

Padding: packets without a payload, which senders use to probe the network, would come out as an empty picture of their
own once the marker closes the one before. To a decoder that is the end of the stream. They are skipped.

Bitrate: see ``rate.PatientRateControl``.

Loss: it asks for a lost packet once, when the gap is first seen; if the request or the answer is lost too, the picture
stands still until 512 packets have piled up. Here it asks again every 50 ms, and after 300 ms gives up: it forgets the
buffer, asks for a keyframe (PLI, RFC 4585 section 6.3.1) and shows nothing until that comes, rather than pictures that
are broken for want of their reference. The same happens when the decoder falls a second behind: its queue is unbounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import time
from collections.abc import Coroutine
from typing import Any

import aiortc.rtcpeerconnection
from aiortc.codecs import is_rtx
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rate import AimdRateControl, RemoteBitrateEstimator
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add, uint16_gt

from streaming.rate import PatientRateControl

logger = logging.getLogger(__name__)

#: Seconds between two requests for the same lost packet, and until a keyframe is asked for instead.
ASK_AGAIN = 0.05
GIVE_UP = 0.3
#: Seconds until a keyframe is asked for again (a big one on a slow line is long under way), and until pictures are
#: shown as they are, because this sender doesn't answer a PLI.
KEYFRAME_WAIT = 1.0
KEYFRAME_PATIENCE = 4.0

_CAPACITY = 512
_MAX_ASKED = 64
_MAX_UNDECODED = 30
_PRIVATE = "_RTCRtpReceiver__"
_NEEDED = {
    RemoteBitrateEstimator: {"rate_control"},
    AimdRateControl: {"current_bitrate", "current_bitrate_initialized"},
    JitterBuffer: {"_capacity", "_origin", "_packets", "_is_video", "_prefetch"},
    RTCRtpReceiver: {
        *(_PRIVATE + name for name in ("jitter_buffer", "nack_generator", "decoder_queue", "timestamp_mapper")),
        _PRIVATE + "remote_bitrate_estimator",
        *(_PRIVATE + name for name in ("codecs", "decoder_thread")),
    },
}
_NEEDED_METHODS = {
    AimdRateControl: ("update",),
    JitterBuffer: ("add", "remove", "_remove_frame"),
    RTCRtpReceiver: ("_handle_rtp_packet", "_send_rtcp_nack", "_send_rtcp_pli", "receive", "stop"),
}


def apply() -> None:
    """Make new peer connections receive with the repairs. Doing it twice is harmless.

    If aiortc's inside isn't the one these were written for, one warning is logged and aiortc stays as it is.
    """
    if aiortc.rtcpeerconnection.__dict__.get("RTCRtpReceiver") is RepairedReceiver:
        return
    missing = unknown_internals()
    if missing:
        logger.warning("This aiortc has no %s; latency and loss repairs are left out.", ", ".join(missing))
        return
    aiortc.rtcpeerconnection.RTCRtpReceiver = RepairedReceiver


def unknown_internals() -> list[str]:
    """What the repairs build on and this aiortc doesn't have."""
    missing = []
    for owner, names in _NEEDED.items():
        assigned = set(owner.__init__.__code__.co_names)
        missing += [f"{owner.__name__}.{name}" for name in sorted(names - assigned)]
    for owner, methods in _NEEDED_METHODS.items():
        missing += [f"{owner.__name__}.{name}()" for name in methods if not callable(getattr(owner, name, None))]
    if aiortc.rtcpeerconnection.__dict__.get("RTCRtpReceiver") is not RTCRtpReceiver:
        missing.append("rtcpeerconnection.RTCRtpReceiver")
    return missing


def is_keyframe(codec: str, data: bytes) -> bool:
    """Whether a depayloaded picture begins a new prediction chain (RFC 6386 section 9.1; H.264 table 7-1)."""
    if codec == "VP8":
        return len(data) >= 6 and not data[0] & 1 and data[3:6] == b"\x9d\x01\x2a"
    if codec == "H264":
        return any(piece[:1] and piece[0] & 0x1F == 5 for piece in data.split(b"\x00\x00\x01"))
    return True


class MarkerJitterBuffer(JitterBuffer):
    """A video jitter buffer that releases a picture on its marker and can wait for a keyframe."""

    def __init__(self) -> None:
        super().__init__(capacity=_CAPACITY, is_video=True)
        #: Name of the codec whose keyframe is waited for; None while pictures flow.
        self.awaited_keyframe: str | None = None

    def pop(self) -> JitterFrame | None:
        """The oldest picture that is complete, or None."""
        while self._origin is not None:
            # The argument isn't used; the parent sees the next picture's first packet, we the marker.
            frame = super()._remove_frame(0) or self._remove_marked()
            if frame is None:
                return None
            if self.awaited_keyframe is not None and is_keyframe(self.awaited_keyframe, frame.data):
                self.awaited_keyframe = None
            if self.awaited_keyframe is None and frame.data:
                return frame
        return None

    def forget(self, next_sequence_number: int, codec: str) -> None:
        """Drop everything and go on with that packet; pictures come out again from the first keyframe of ``codec``."""
        self._packets = [None] * self._capacity
        self._origin = next_sequence_number
        self.awaited_keyframe = codec

    def origin(self) -> int | None:
        """Sequence number of the packet that is needed next."""
        return self._origin

    def has_gap(self, newest: int) -> bool:
        """Whether a packet before ``newest`` is missing."""
        if self._origin is None:
            return False
        behind = uint16_add(newest, -self._origin)
        return behind < self._capacity and any(
            self._packets[(self._origin + count) % self._capacity] is None for count in range(behind)
        )

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        return self.pop()

    def _remove_marked(self) -> JitterFrame | None:
        packets: list[RtpPacket] = []
        for count in range(self._capacity):
            packet = self._packets[(self._origin + count) % self._capacity]
            if packet is None or (packets and packet.timestamp != packets[0].timestamp):
                return None
            packets.append(packet)
            if packet.marker:
                self.remove(len(packets))
                return JitterFrame(data=b"".join(each._data for each in packets), timestamp=packet.timestamp)
        return None


class RepairedReceiver(RTCRtpReceiver):
    """aiortc's receiver with the repairs; audio is left alone.

    No task of its own: while a picture is overdue a timer looks every ASK_AGAIN seconds, so that a loss at the end of a
    burst is seen too, when no later packet comes to show the gap.
    """

    def __init__(self, kind: str, transport: Any) -> None:
        super().__init__(kind, transport)
        self._buffer: MarkerJitterBuffer | None = None
        if kind == "video":
            self._buffer = MarkerJitterBuffer()
            setattr(self, _PRIVATE + "jitter_buffer", self._buffer)
            self._private("remote_bitrate_estimator").rate_control = PatientRateControl()
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._overdue_since: float | None = None
        self._awaiting_since = 0.0
        self._asked_keyframe = 0.0
        self._media: RtpPacket | None = None
        self._stopped = False
        #: For tests and statistics: how often lost packets and keyframes were asked for again.
        self.asked_again = 0
        self.given_up = 0

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        if not self._stopped:
            await super().receive(parameters)

    async def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
        await super().stop()

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        buffer = self._buffer
        if buffer is None or self._stopped:
            await super()._handle_rtp_packet(packet, arrival_time_ms)
            return
        before = buffer.origin()
        await super()._handle_rtp_packet(packet, arrival_time_ms)
        codec = self._private("codecs").get(packet.payload_type)
        if codec is not None and not is_rtx(codec):
            self._media = packet
        self._give_out_the_rest(buffer)
        if buffer.origin() != before or not buffer.has_gap(self._newest()):
            self._overdue_since = None
        self._watch(buffer)

    def _private(self, name: str) -> Any:
        return getattr(self, _PRIVATE + name)

    def _give_out_the_rest(self, buffer: MarkerJitterBuffer) -> None:
        if self._media is None or self._private("decoder_thread") is None:
            return
        undecoded: queue.Queue[Any] = self._private("decoder_queue")
        codec = self._private("codecs")[self._media.payload_type]
        while (frame := buffer.pop()) is not None:
            frame.timestamp = self._private("timestamp_mapper").map(frame.timestamp)
            undecoded.put((codec, frame))
        if undecoded.qsize() > _MAX_UNDECODED:
            with contextlib.suppress(queue.Empty):
                while True:
                    undecoded.get_nowait()
            self._start(self._give_up(buffer, self._media))

    def _newest(self) -> int:
        return int(self._private("nack_generator").max_seq or 0)

    def _watch(self, buffer: MarkerJitterBuffer) -> None:
        """Look again in a moment, if something is overdue now."""
        all_given_out = buffer.origin() in (None, uint16_add(self._newest(), 1))
        if all_given_out and buffer.awaited_keyframe is None:
            self._overdue_since = None
            return
        if self._overdue_since is None:
            self._overdue_since = time.monotonic()
        if self._timer is None and not self._stopped:
            self._timer = asyncio.get_running_loop().call_later(ASK_AGAIN, self._look, buffer)

    def _look(self, buffer: MarkerJitterBuffer) -> None:
        self._timer = None
        if self._overdue_since is not None and self._media is not None:
            now = time.monotonic()
            overdue = now - self._overdue_since
            missing = self._missing(buffer)
            if self._is_hopeless(buffer, now, overdue, bool(missing)):
                self._start(self._give_up(buffer, self._media))
            elif overdue >= 0.9 * ASK_AGAIN and (missing or buffer.awaited_keyframe is None):
                # (A timer may fire a clock tick early.) Nothing missing and yet no complete picture: its end never
                # came. Then what follows the newest packet is asked for.
                self._start(self._ask_again(self._media, missing or [uint16_add(self._newest(), 1)]))
        self._watch(buffer)

    def _is_hopeless(self, buffer: MarkerJitterBuffer, now: float, overdue: float, missing: bool) -> bool:
        # A gap with nothing on the list of the missing is too old to be asked for.
        lost_for_good = not missing and buffer.has_gap(self._newest())
        if buffer.awaited_keyframe is not None:
            return now - self._asked_keyframe >= (GIVE_UP if lost_for_good else KEYFRAME_WAIT)
        return lost_for_good or overdue >= GIVE_UP

    def _missing(self, buffer: MarkerJitterBuffer) -> list[int]:
        """The packets that can still be asked for, the most urgent first."""
        origin = buffer.origin() or 0
        missing: set[int] = self._private("nack_generator").missing
        return sorted((seq for seq in missing if not uint16_gt(origin, seq)), key=lambda seq: uint16_add(seq, -origin))

    def _start(self, asking: Coroutine[Any, Any, None]) -> None:
        if self._asking is not None and not self._asking.done():
            asking.close()
            return
        self._asking = asyncio.ensure_future(asking)

    async def _ask_again(self, media: RtpPacket, missing: list[int]) -> None:
        self.asked_again += 1
        await self._send_rtcp_nack(media.ssrc, missing[:_MAX_ASKED])

    async def _give_up(self, buffer: MarkerJitterBuffer, media: RtpPacket) -> None:
        now = self._asked_keyframe = time.monotonic()
        if buffer.awaited_keyframe is None:
            self._awaiting_since = now
        if buffer.awaited_keyframe is None or buffer.has_gap(self._newest()):
            self._private("nack_generator").missing.clear()
            buffer.forget(uint16_add(self._newest(), 1), self._private("codecs")[media.payload_type].name)
        if now - self._awaiting_since > KEYFRAME_PATIENCE:
            buffer.awaited_keyframe = None
        self._overdue_since = now
        self.given_up += 1
        await self._send_rtcp_pli(media.ssrc)
