"""The repairs of aiortc's receiver, each against the fault it mends."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import aiortc.rtcpeerconnection
import aiortc.rtcrtpreceiver
import av
import numpy as np
import pytest
from aiortc.codecs import CODECS
from aiortc.codecs.vpx import Vp8Decoder, Vp8Encoder
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import RemoteStreamTrack, RTCRtpReceiver
from aiortc.rtp import RTCP_PSFB_PLI, RTCP_RTPFB_NACK, RtcpPacket, RtcpPsfbPacket, RtcpRtpfbPacket, RtpPacket

from streaming import rtp
from streaming.frame import VIDEO_TIME_BASE
from tests.webrtc import eventually

VP8 = next(codec for codec in CODECS["video"] if codec.name == "VP8")


def packet(sequence_number: int, timestamp: int, *, last: bool, data: bytes = b"data") -> RtpPacket:
    made = RtpPacket(
        payload_type=VP8.payloadType, sequence_number=sequence_number % 65536, timestamp=timestamp, marker=int(last)
    )
    made.ssrc = 1234
    made.payload = data
    made._data = data
    return made


def released(buffer: JitterBuffer, packets: list[RtpPacket]) -> list[int]:
    """Timestamps of the pictures that come out, in order."""
    frames = [buffer.add(each)[1] for each in packets]
    return [frame.timestamp for frame in frames if frame is not None]


@pytest.fixture
def buffer() -> rtp.MarkerJitterBuffer:
    return rtp.MarkerJitterBuffer()


class TestMarker:
    def test_a_picture_comes_out_on_its_marker(self, buffer: rtp.MarkerJitterBuffer) -> None:
        packets = [packet(0, 0, last=False), packet(1, 0, last=False), packet(2, 0, last=True)]
        assert released(JitterBuffer(capacity=512, is_video=True), packets) == [], "aiortc waits for the next picture"
        assert released(buffer, packets) == [0]

    def test_pictures_of_one_packet(self, buffer: rtp.MarkerJitterBuffer) -> None:
        assert released(buffer, [packet(n, n * 3000, last=True) for n in range(10)]) == [n * 3000 for n in range(10)]

    def test_packets_out_of_order(self, buffer: rtp.MarkerJitterBuffer) -> None:
        order = [
            packet(0, 0, last=False),
            packet(2, 0, last=True),
            packet(1, 0, last=False),
            packet(3, 3000, last=True),
        ]
        assert released(buffer, order) == [0, 3000]

    def test_duplicates_change_nothing(self, buffer: rtp.MarkerJitterBuffer) -> None:
        packets = [packet(0, 0, last=False), packet(1, 0, last=True), packet(2, 3000, last=True)]
        assert released(buffer, [each for each in packets for _ in range(3)]) == [0, 3000]

    def test_sequence_numbers_wrap(self, buffer: rtp.MarkerJitterBuffer) -> None:
        packets = [packet(65530 + n, n // 3 * 3000, last=n % 3 == 2) for n in range(12)]
        assert released(buffer, packets) == [0, 3000, 6000, 9000]

    def test_a_sender_without_markers_still_works(self, buffer: rtp.MarkerJitterBuffer) -> None:
        assert released(buffer, [packet(n, n * 3000, last=False) for n in range(4)]) == [0, 3000, 6000]

    def test_padding_is_no_picture(self, buffer: rtp.MarkerJitterBuffer) -> None:
        packets = [
            packet(0, 0, last=True),
            packet(1, 0, last=False, data=b""),
            packet(2, 0, last=False, data=b""),
            packet(3, 3000, last=True),
        ]
        assert released(buffer, packets) == [0, 3000]

    def test_all_that_waited_behind_a_gap_comes_out_at_once(self, buffer: rtp.MarkerJitterBuffer) -> None:
        theirs = JitterBuffer(capacity=512, is_video=True)
        packets = [packet(n, n * 3000, last=True) for n in (0, 2, 3, 4, 1)]
        assert len(released(theirs, packets)) == 1, "aiortc gives one picture a packet, the rest stays behind for good"
        first = released(buffer, packets)
        rest = iter(buffer.pop, None)
        assert first + [frame.timestamp for frame in rest] == [0, 3000, 6000, 9000, 12000]


class TestKeyframes:
    @pytest.mark.parametrize("codec", ["libvpx", "libx264"])
    def test_are_told_from_the_others(self, codec: str) -> None:
        context = av.CodecContext.create(codec, "w")
        context.width = context.height = 64
        context.pix_fmt, context.framerate, context.time_base = "yuv420p", 30, VIDEO_TIME_BASE
        context.options = (
            {"deadline": "realtime", "lag-in-frames": "0"} if codec == "libvpx" else {"tune": "zerolatency"}
        )
        name = {"libvpx": "VP8", "libx264": "H264"}[codec]
        for n in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 40 * n, np.uint8), format="rgb24")
            frame.pts = n * 3000
            for encoded in context.encode(frame.reformat(format="yuv420p")):
                assert rtp.is_keyframe(name, bytes(encoded)) == encoded.is_keyframe == (n == 0)

    def test_are_waited_for_after_a_loss(self, buffer: rtp.MarkerJitterBuffer) -> None:
        key = b"\x10\x00\x00\x9d\x01\x2a" + bytes(20)
        delta = b"\x11" + bytes(20)
        assert released(buffer, [packet(0, 0, last=True, data=key)]) == [0]
        buffer.forget(1, "VP8")
        assert released(buffer, [packet(1, 3000, last=True, data=delta), packet(2, 6000, last=True, data=delta)]) == []
        assert released(buffer, [packet(3, 9000, last=True, data=key), packet(4, 12000, last=True, data=delta)]) == [
            9000,
            12000,
        ]


class FakeTransport:
    """Where a receiver sends its RTCP."""

    state = "connected"
    _stats_id = "transport"

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.keyframes_asked = 0

    def _register_rtp_receiver(self, receiver: Any, parameters: Any) -> None: ...

    def _unregister_rtp_receiver(self, receiver: Any) -> None: ...

    async def _send_rtp(self, data: bytes) -> None:
        for each in RtcpPacket.parse(data):
            if isinstance(each, RtcpRtpfbPacket) and each.fmt == RTCP_RTPFB_NACK:
                self.asked += each.lost
            elif isinstance(each, RtcpPsfbPacket) and each.fmt == RTCP_PSFB_PLI:
                self.keyframes_asked += 1


class Line:
    """A receiver at the end of a line, and real VP8 pictures to send down it."""

    def __init__(self, receiver: RTCRtpReceiver, transport: FakeTransport) -> None:
        self.receiver = receiver
        self.transport = transport
        self.got: list[int] = []
        self._encoder = Vp8Encoder()
        self._sequence_number = 65500  # wraps within each test
        self._noise = np.random.default_rng(0)

    def picture(self, timestamp: int, *, key: bool = False) -> list[RtpPacket]:
        """The packets of a picture, several of them."""
        image = self._noise.integers(0, 255, (128, 128, 3), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = timestamp, VIDEO_TIME_BASE
        payloads, _ = self._encoder.encode(frame, force_keyframe=key)
        packets = []
        for payload in payloads:
            made = packet(self._sequence_number, timestamp, last=payload is payloads[-1], data=payload)
            packets.append(made)
            self._sequence_number += 1
        return packets

    async def send(self, packets: list[RtpPacket]) -> None:
        for each in packets:
            await self.receiver._handle_rtp_packet(each, arrival_time_ms=0)

    async def shows(self, *timestamps: int) -> None:
        await eventually(
            lambda: self.got[-len(timestamps) :] == list(timestamps), f"{timestamps} shown, got {self.got}"
        )

    async def watch(self) -> None:
        while True:
            frame = await self.receiver.track.recv()
            self.got.append(frame.pts)


async def new_line(kind: type[RTCRtpReceiver]) -> AsyncIterator[Line]:
    transport = FakeTransport()
    receiver = kind("video", transport)
    receiver._track = RemoteStreamTrack("video")
    receiver._set_rtcp_ssrc(99)
    await receiver.receive(RTCRtpReceiveParameters(codecs=[VP8]))
    line = Line(receiver, transport)
    watching = asyncio.ensure_future(line.watch())
    yield line
    watching.cancel()
    await receiver.stop()
    await receiver.stop()


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async for each in new_line(rtp.RepairedReceiver):
        yield each


@pytest.fixture
async def aiortcs_line() -> AsyncIterator[Line]:
    async for each in new_line(RTCRtpReceiver):
        yield each


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the give-up could come before the test's own answer."""
    monkeypatch.setattr(rtp, "GIVE_UP", 60.0)


class TestLoss:
    async def test_a_picture_is_shown_without_waiting_for_the_next(self, line: Line) -> None:
        await line.send(line.picture(0))
        await line.shows(0)

    @pytest.mark.usefixtures("patient")
    async def test_a_lost_packet_is_asked_for_again_and_again(self, line: Line) -> None:
        await line.send(line.picture(0))
        lossy = line.picture(3000)
        assert len(lossy) > 2
        await line.send([lossy[0], *lossy[2:]])
        lost = lossy[1].sequence_number
        await eventually(lambda: line.transport.asked.count(lost) >= 3, "the packet is asked for three times")
        assert line.transport.keyframes_asked == 0
        await line.send([lossy[1], lossy[1]])
        await line.shows(0, 3000)

    async def test_aiortc_alone_asks_once(self, aiortcs_line: Line) -> None:
        await aiortcs_line.send(aiortcs_line.picture(0))
        lossy = aiortcs_line.picture(3000)
        await aiortcs_line.send([lossy[0], *lossy[2:]])
        await asyncio.sleep(6 * rtp.ASK_AGAIN)  # nothing is to happen in this time
        assert aiortcs_line.transport.asked == [lossy[1].sequence_number]

    @pytest.mark.usefixtures("patient")
    async def test_the_lost_end_of_a_burst_is_asked_for_though_nothing_follows(self, line: Line) -> None:
        await line.send(line.picture(0))
        lossy = line.picture(3000)
        await line.send(lossy[:-1])
        await eventually(lambda: lossy[-1].sequence_number in line.transport.asked, "the last packet is asked for")
        await line.send(lossy[-1:])
        await line.shows(0, 3000)

    async def test_after_a_while_a_keyframe_is_asked_for_and_nothing_broken_shown(self, line: Line) -> None:
        await line.send(line.picture(0))
        lossy = line.picture(3000)
        await line.send(lossy[:1] + lossy[2:])
        await line.send(line.picture(6000))
        await eventually(lambda: line.transport.keyframes_asked > 0, "a keyframe is asked for")
        await line.send(line.picture(9000))
        await line.send([lossy[1]])  # too late
        await line.send(line.picture(12000, key=True))
        await line.send(line.picture(15000))
        await line.shows(0, 12000, 15000)

    async def test_a_gap_too_old_to_be_asked_for_means_a_keyframe_at_once(self, line: Line) -> None:
        await line.send(line.picture(0))
        lossy = line.picture(3000)
        await line.send(lossy[:1] + lossy[2:])
        n = 2
        while line.receiver._RTCRtpReceiver__nack_generator.missing:  # aiortc keeps the last 128 packets in mind
            await line.send(line.picture(n * 3000))
            n += 1
        await eventually(lambda: line.transport.keyframes_asked > 0, "a keyframe is asked for")
        await line.send(line.picture(n * 3000, key=True))
        await line.shows(0, n * 3000)

    async def test_a_lost_keyframe_is_asked_for_again(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rtp, "KEYFRAME_WAIT", 0.2)
        await line.send(line.picture(0))
        lossy = line.picture(3000)
        await line.send(lossy[:1] + lossy[2:])
        await eventually(lambda: line.transport.keyframes_asked >= 3, "a keyframe is asked for three times")
        await line.send(line.picture(6000, key=True))
        await line.shows(0, 6000)

    async def test_a_sender_without_keyframes_is_shown_again_in_the_end(
        self, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rtp, "KEYFRAME_WAIT", 0.1)
        monkeypatch.setattr(rtp, "KEYFRAME_PATIENCE", 0.3)
        await line.send(line.picture(0))
        lossy = line.picture(3000)
        await line.send(lossy[:1] + lossy[2:])
        for n in range(2, 400):
            await line.send(line.picture(n * 3000))
            if len(line.got) > 1:
                break
            await asyncio.sleep(0.02)
        await eventually(lambda: len(line.got) > 1, "pictures are shown again")

    @pytest.mark.usefixtures("patient")
    async def test_pictures_behind_a_filled_gap_are_all_shown(self, line: Line) -> None:
        pictures = [line.picture(n * 3000) for n in range(6)]
        lost = pictures[1].pop(0)
        for each in pictures:
            await line.send(each)
        await line.send([lost])
        await line.shows(*(n * 3000 for n in range(6)))

    @pytest.mark.usefixtures("patient")
    async def test_nothing_is_asked_for_while_all_is_well(self, line: Line) -> None:
        for n in range(10):
            await line.send(line.picture(n * 3000))
        await line.shows(*(n * 3000 for n in range(10)))
        await asyncio.sleep(6 * rtp.ASK_AGAIN)  # nothing is to happen in this time
        assert line.transport.asked == []
        assert line.transport.keyframes_asked == 0
        assert line.receiver._timer is None, "no timer runs while nothing is overdue"

    async def test_a_decoder_that_falls_behind_starts_afresh(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        go_on = threading.Event()

        class SlowDecoder(Vp8Decoder):
            def decode(self, encoded_frame: JitterFrame) -> list[av.VideoFrame]:
                go_on.wait()
                return super().decode(encoded_frame)

        monkeypatch.setattr(aiortc.rtcrtpreceiver, "get_decoder", lambda codec: SlowDecoder())
        for n in range(50):
            await line.send(line.picture(n * 3000))
        await eventually(lambda: line.transport.keyframes_asked > 0, "a keyframe is asked for")
        go_on.set()
        await line.send(line.picture(200_000, key=True))
        await line.shows(200_000)
        assert len(line.got) < 40, "what the decoder couldn't keep up with is dropped"

    async def test_stopping_leaves_no_timer_and_no_task(self, line: Line) -> None:
        lossy = line.picture(0)
        await line.send(lossy[:1] + lossy[2:])
        assert line.receiver._timer is not None
        await line.receiver.stop()
        assert line.receiver._timer.cancelled()


class TestApply:
    @pytest.fixture(autouse=True)
    def _put_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(aiortc.rtcpeerconnection, "RTCRtpReceiver", RTCRtpReceiver)

    def test_twice_is_once(self, caplog: pytest.LogCaptureFixture) -> None:
        rtp.apply()
        rtp.apply()
        assert aiortc.rtcpeerconnection.RTCRtpReceiver is rtp.RepairedReceiver
        assert not caplog.records

    def test_another_aiortc_is_left_alone_with_a_warning(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.delattr(RTCRtpReceiver, "_send_rtcp_nack")
        with caplog.at_level(logging.WARNING):
            rtp.apply()
        assert aiortc.rtcpeerconnection.RTCRtpReceiver is RTCRtpReceiver
        assert len(caplog.records) == 1
        assert "_send_rtcp_nack" in caplog.text

    def test_an_attribute_that_is_gone_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def init(self: object, kind: str, transport: object) -> None: ...

        monkeypatch.setattr(RTCRtpReceiver, "__init__", init)
        assert "RTCRtpReceiver._RTCRtpReceiver__jitter_buffer" in rtp.unknown_internals()
