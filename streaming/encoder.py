"""The video encoders that aiortc's senders use here: fast presets, a decent first bitrate, H264 with a live bitrate.

aiortc's own: x264 at its default preset (12 ms for a 512² picture where ultrafast takes 1.4), 0.5 to 1 Mbit/s at the
start, and a new encoder with a new keyframe for each change of bitrate over a tenth.
"""

from __future__ import annotations

import logging
import random
from fractions import Fraction

import aiortc.rtcrtpsender
import av
from aiortc.codecs import get_encoder as aiortc_get_encoder
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder, number_of_threads
from aiortc.mediastreams import convert_timebase
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from streaming.frame import VIDEO_TIME_BASE
from streaming.rate import MAX_BITRATE, SenderRate

logger = logging.getLogger(__name__)

_KEYFRAME_INTERVAL = 3000  # on request (PLI) only: a keyframe is many times the size of the others
_VP8_STEP = 0.25


def apply() -> None:
    """Make aiortc's senders use these encoders; twice is harmless. If aiortc's inside differs, it stays as it is."""
    if aiortc.rtcrtpsender.__dict__.get("get_encoder") is get_encoder:
        return
    missing = [
        f"{owner.__name__}.{name}"
        for owner, name in [
            (aiortc.rtcrtpsender, "get_encoder"),
            (H264Encoder, "_packetize"),
            (H264Encoder, "_split_bitstream"),
            (Vp8Encoder, "_packetize"),
        ]
        if not hasattr(owner, name)
    ]
    if missing:
        logger.warning("This aiortc has no %s; its own slower encoders are used.", ", ".join(missing))
        return
    aiortc.rtcrtpsender.get_encoder = get_encoder


def get_encoder(codec: RTCRtpCodecParameters) -> Encoder:
    """An encoder for one sender."""
    kind = codec.mimeType.lower()
    if kind == "video/h264":
        return LiveH264Encoder()
    if kind == "video/vp8":
        return LiveVp8Encoder()
    return aiortc_get_encoder(codec)


class LiveH264Encoder(H264Encoder):
    """libx264, ultrafast and zerolatency, constrained baseline; the bitrate changes without a new encoder."""

    def __init__(self) -> None:
        super().__init__()
        self._context: VideoCodecContext | None = None
        self._rate = SenderRate()

    @property
    def target_bitrate(self) -> int:
        """Bits a second. aiortc sets it from the receiver's REMB, which ``SenderRate`` takes or leaves."""
        return self._rate.target

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._rate.ask(bitrate)

    def encode(self, frame: av.VideoFrame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """RTP payloads (RFC 6184) of one picture, and its timestamp on the 90 kHz clock."""
        context = self._context
        if context is None or (context.width, context.height) != (frame.width, frame.height):
            context = self._context = _open_h264(frame.width, frame.height)
        if context.bit_rate != self._rate.target:
            context.bit_rate = self._rate.target
        data = _encode(context, frame, force_keyframe)
        timestamp = _timestamp(frame)
        self._rate.count(timestamp, len(data))
        return self._packetize(self._split_bitstream(data)), timestamp


class LiveVp8Encoder(Vp8Encoder):
    """libvpx at its real-time speed, without the noise filter that painted pictures don't need.

    libvpx takes no new bitrate through FFmpeg, so a change over a quarter opens a new encoder (aiortc: over a tenth).
    """

    def __init__(self) -> None:
        super().__init__()
        self._context: VideoCodecContext | None = None
        self._rate = SenderRate()
        self._context_bitrate = self._rate.target
        self._picture_id = random.randrange(1 << 15)

    @property
    def target_bitrate(self) -> int:
        """Bits a second, as in LiveH264Encoder."""
        return self._rate.target

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._rate.ask(bitrate)

    def encode(self, frame: av.VideoFrame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """RTP payloads (RFC 7741) of one picture, and its timestamp on the 90 kHz clock."""
        context, bitrate = self._context, self._rate.target
        stale = abs(bitrate - self._context_bitrate) > _VP8_STEP * self._context_bitrate
        if context is None or stale or (context.width, context.height) != (frame.width, frame.height):
            self._context_bitrate = bitrate
            context = self._context = _open_vp8(frame.width, frame.height, bitrate)
        data = _encode(context, frame, force_keyframe)
        timestamp = _timestamp(frame)
        self._rate.count(timestamp, len(data))
        payloads = self._packetize(data, self._picture_id)
        self._picture_id = (self._picture_id + 1) % (1 << 15)
        return payloads, timestamp


def _open_h264(width: int, height: int) -> VideoCodecContext:
    context = _new_context("libx264", width, height)
    # x264 follows a lowered bit_rate only in its constant-bitrate mode, and never above the maxrate it was opened
    # with; so it is opened at the ceiling and set down before the first picture.
    context.bit_rate = MAX_BITRATE
    context.max_b_frames = 0
    context.profile = "Constrained Baseline" if "Constrained Baseline" in context.profiles else "Baseline"
    context.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "maxrate": str(MAX_BITRATE),
        "bufsize": str(MAX_BITRATE // 8),
    }
    context.open()
    return context


def _open_vp8(width: int, height: int, bitrate: int) -> VideoCodecContext:
    context = _new_context("libvpx", width, height)
    context.bit_rate = bitrate
    context.qmin, context.qmax = 2, 56
    context.thread_count = number_of_threads(width * height, cpus=4)
    context.options = {
        "deadline": "realtime",
        "cpu-used": "-8",
        "lag-in-frames": "0",
        "static-thresh": "1",
        "minrate": str(bitrate),
        "maxrate": str(bitrate),
        "bufsize": str(bitrate // 2),
        "undershoot-pct": "100",
        "overshoot-pct": "15",
    }
    return context


def _new_context(codec: str, width: int, height: int) -> VideoCodecContext:
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = width, height
    context.pix_fmt = "yuv420p"
    context.framerate = Fraction(30)
    context.time_base = VIDEO_TIME_BASE
    context.gop_size = _KEYFRAME_INTERVAL
    return context


def _encode(context: VideoCodecContext, frame: av.VideoFrame, force_keyframe: bool) -> bytes:
    if frame.format.name != "yuv420p":
        frame = frame.reformat(format="yuv420p")
    frame.pict_type = PictureType.I if force_keyframe else PictureType.NONE
    return b"".join(bytes(packet) for packet in context.encode(frame))


def _timestamp(frame: av.VideoFrame) -> int:
    return int(convert_timebase(frame.pts, frame.time_base, VIDEO_TIME_BASE))
