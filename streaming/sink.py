"""Where painted pictures go besides WebRTC: a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
from av.audio.resampler import AudioResampler

from streaming.errors import SinkError, SourceError
from streaming.frame import Frame

#: libx264 for keeping, not for live: near-transparent, and still faster than most models paint.
_VIDEO_OPTIONS = {"preset": "veryfast", "crf": "18"}
_AAC_RATE = 48_000


class Sink(Protocol):
    """Takes painted pictures, in order, from one thread."""

    def write(self, frame: Frame) -> None:
        """Take one picture. Raises SinkError if it can't."""

    def close(self) -> None:
        """Finish; twice is harmless. Raises SinkError if it can't."""


class FileSink:
    """A video file: H264 in yuv420p, each frame kept at its own pts, with the audio of another file.

    The container follows the name's ending (``.mp4``, ``.mkv``, ``.mov``). Audio is copied as it is where the container
    takes its codec, and becomes AAC otherwise. A size in odd numbers loses its last row or column.
    """

    def __init__(self, path: Path, *, audio_from: Path | None = None, rate: Fraction = Fraction(30)) -> None:
        """``rate``: pictures a second, on average. Raises SinkError for ``path``, SourceError for ``audio_from``."""
        self._path = path
        self._rate = rate
        self._video: av.VideoStream | None = None
        self._last_pts = -1
        self._closed = False
        with self._explained():
            self._container = av.open(str(path), "w")
            path.open("wb").close()  # PyAV itself only finds at the first picture that it can't write there
        try:
            if "h264" not in self._container.supported_codecs:
                raise SinkError(f"{path.name} can't hold H264 video; name it .mp4, .mkv or .mov.")
            self._audio = _AudioCopy(audio_from, self._container) if audio_from is not None else None
        except BaseException:
            self._container.close()
            raise

    def write(self, frame: Frame) -> None:
        """Encode one picture, and the audio up to it. All pictures are brought to the first one's size."""
        if self._closed:
            raise SinkError(f"{self._path.name} is closed already.")
        with self._explained():
            picture = frame.to_video_frame()
            if self._video is None:
                self._video = self._add_video(frame, picture)
            # A muxer takes rising timestamps only; a broken input's equal ones are moved by the smallest step.
            picture.pts = self._last_pts = max(frame.pts, self._last_pts + 1)
            if self._audio is not None:
                self._audio.copy_until(float(frame.pts * frame.time_base))
            self._container.mux(self._video.encode(picture))

    def close(self) -> None:
        """Write what the encoder still holds and the rest of the audio, and finish the file."""
        if self._closed:
            return
        self._closed = True
        with self._explained(), self._container:
            if self._audio is not None:
                with contextlib.closing(self._audio):
                    self._audio.copy_until(float("inf"))
            if self._video is not None:
                self._container.mux(self._video.encode(None))

    def _add_video(self, frame: Frame, picture: av.VideoFrame) -> av.VideoStream:
        stream = self._container.add_stream("libx264", rate=self._rate, options=dict(_VIDEO_OPTIONS))
        stream.width, stream.height = picture.width, picture.height
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = frame.time_base
        return stream

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError, ValueError) as error:
            words = (getattr(error, "strerror", None) or str(error)).lower()
            raise SinkError(f"{self._path} can't be written: {words}.") from error


class _AudioCopy:
    """The first audio track of a file, brought into an output bit by bit so that both lie side by side in it."""

    def __init__(self, path: Path, output: av.container.OutputContainer) -> None:
        try:
            self._input = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"The audio of {path.name} can't be read.") from error
        self._output = output
        self._packets: Iterator[av.Packet] = iter(())
        self._waiting: av.Packet | None = None
        if not self._input.streams.audio:
            return
        source = self._input.streams.audio[0]
        self._copies = source.codec_context.name in output.supported_codecs
        if self._copies:
            self._stream = output.add_stream_from_template(source)
        else:
            # What every player knows; the source's own rate or layout may be one that AAC doesn't.
            layout = "mono" if source.channels == 1 else "stereo"
            self._stream = output.add_stream("aac", rate=_AAC_RATE, layout=layout)
            self._resampler = AudioResampler(format="fltp", layout=layout, rate=_AAC_RATE)
        self._packets = self._input.demux(source)
        self._waiting = next(self._packets, None)

    def copy_until(self, seconds: float) -> None:
        """Everything that begins before that time."""
        while (packet := self._waiting) is not None and _begins_before(packet, seconds):
            self._waiting = next(self._packets, None)
            self._copy(packet)

    def close(self) -> None:
        self._input.close()

    def _copy(self, packet: av.Packet) -> None:
        if not self._copies:
            self._encode(packet)
        elif packet.dts is not None:  # the last one is empty and only says that there is no more
            packet.stream = self._stream
            self._output.mux(packet)

    def _encode(self, packet: av.Packet) -> None:
        sounds: list[av.AudioFrame] = []
        for frame in packet.decode():
            assert isinstance(frame, av.AudioFrame)
            sounds += self._resampler.resample(frame)
        ends = packet.dts is None
        if ends:
            sounds += self._resampler.resample(None)
        for sound in sounds:
            self._output.mux(self._stream.encode(sound))
        if ends:
            self._output.mux(self._stream.encode(None))


def _begins_before(packet: av.Packet, seconds: float) -> bool:
    return packet.dts is None or float(packet.dts * packet.time_base) < seconds
