"""Encoders: decodable, with live bitrates and no needless keyframes."""

from __future__ import annotations

import logging

import aiortc.rtcrtpsender
import av
import numpy as np
import pytest
from aiortc.codecs import get_encoder as aiortc_get_encoder
from aiortc.codecs.h264 import H264Encoder, h264_depayload
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import vp8_depayload
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from streaming import encoder
from streaming.frame import VIDEO_TIME_BASE
from streaming.rate import START_BITRATE
from streaming.rtp import is_keyframe

KINDS = {"VP8": ("libvpx", vp8_depayload), "H264": ("h264", h264_depayload)}


def codec(name: str, kind: str = "video", rate: int = 90_000) -> RTCRtpCodecParameters:
    return RTCRtpCodecParameters(mimeType=f"{kind}/{name}", clockRate=rate, payloadType=97, channels=2)


class Wire:
    """An encoder, its payloads put together again, and a decoder."""

    def __init__(self, name: str) -> None:
        decoder, self._depayload = KINDS[name]
        self.encoder = encoder.get_encoder(codec(name))
        self.decoder = av.CodecContext.create(decoder, "r")
        self.n = 0
        self.keyframes: list[int] = []
        self._name = name
        texture = np.random.default_rng(3).integers(60, 200, (320, 160, 3), dtype=np.uint8)
        self._texture = np.kron(texture, np.ones((2, 2, 1), np.uint8))

    def picture(self, size: int = 256) -> av.VideoFrame:
        """A texture that moves, so that there is something to spend bits on."""
        shift = self.n * 5 % 300
        image = np.ascontiguousarray(self._texture[shift : shift + size, :size])
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = self.n * 3000, VIDEO_TIME_BASE
        self.n += 1
        return frame

    def send(self, frame: av.VideoFrame, *, key: bool = False) -> tuple[int, list[av.VideoFrame]]:
        """Bytes on the wire, and what the other side sees."""
        payloads, timestamp = self.encoder.encode(frame, key)
        assert timestamp == frame.pts
        assert all(len(payload) <= 1300 for payload in payloads)
        data = b"".join(self._depayload(payload) for payload in payloads)
        if is_keyframe(self._name, data):
            self.keyframes.append(self.n - 1)
        return len(data), self.decoder.decode(av.Packet(data))

    def bitrate(self, seconds: int = 2) -> float:
        """Bits a second at 30 pictures a second, over the last of some seconds."""
        sizes = [self.send(self.picture())[0] for _ in range(30 * seconds)]
        return sum(sizes[-30:]) * 8


@pytest.fixture(params=list(KINDS))
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(request.param)


def test_each_picture_is_decodable_at_once(wire: Wire) -> None:
    for _ in range(5):
        frame = wire.picture()
        _, seen = wire.send(frame)
        assert len(seen) == 1, "no delay by look-ahead or B-frames"
        difference = seen[0].to_ndarray(format="rgb24").astype(int) - frame.to_ndarray(format="rgb24")
        assert np.abs(difference).mean() < 25


def test_keyframes_come_first_and_on_request_only(wire: Wire) -> None:
    for n in range(40):
        wire.send(wire.picture(), key=n == 25)
    assert wire.keyframes == [0, 25]


def test_the_size_may_change(wire: Wire) -> None:
    for size in (256, 128, 320):
        _, seen = wire.send(wire.picture(size))
        assert (seen[-1].width, seen[-1].height) == (size, size)


def test_it_starts_sharp(wire: Wire) -> None:
    assert wire.encoder.target_bitrate == START_BITRATE >= 1_500_000
    assert wire.bitrate() > 0.6 * START_BITRATE


def test_the_bitrate_follows(wire: Wire) -> None:
    high = wire.bitrate()
    wire.encoder.target_bitrate = 500_000
    low = wire.bitrate()
    wire.encoder.target_bitrate = 2_000_000
    again = wire.bitrate(4)
    assert low < 0.5 * high
    assert again > 2 * low


def test_h264_changes_its_bitrate_without_a_keyframe() -> None:
    wire = Wire("H264")
    for n in range(60):
        wire.encoder.target_bitrate = 500_000 + 100_000 * (n % 20)
        wire.send(wire.picture())
    assert wire.keyframes == [0]


def test_vp8_stays_with_small_changes_of_bitrate() -> None:
    wire = Wire("VP8")
    for n in range(30):
        wire.encoder.target_bitrate = int(START_BITRATE * (1 + 0.2 * (n % 2)))
        wire.send(wire.picture())
    assert wire.keyframes == [0]


def test_other_codecs_are_aiortcs() -> None:
    assert isinstance(encoder.get_encoder(codec("opus", "audio", 48_000)), OpusEncoder)


def test_apply_twice_is_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiortc.rtcrtpsender, "get_encoder", aiortc_get_encoder)
    encoder.apply()
    encoder.apply()
    assert aiortc.rtcrtpsender.get_encoder is encoder.get_encoder


def test_another_aiortc_is_left_alone_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(aiortc.rtcrtpsender, "get_encoder", aiortc_get_encoder)
    monkeypatch.delattr(H264Encoder, "_packetize")
    with caplog.at_level(logging.WARNING):
        encoder.apply()
    assert aiortc.rtcrtpsender.get_encoder is aiortc_get_encoder
    assert "_packetize" in caplog.text
