"""Small video files for tests, made on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from streaming import stamp


def make_clip(
    path: Path,
    *,
    frames: int = 30,
    size: tuple[int, int] = (120, 160),
    rate: int = 30,
    codec: str = "libx264",
    audio: str | None = None,
    start: int = 0,
) -> Path:
    """A stamped clip (counter: frame number), with a tone as long as the video if ``audio`` names a codec."""
    height, width = size
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 90_000)
        sound = container.add_stream(audio, rate=48_000, layout="stereo") if audio else None
        for n in range(frames):
            image = np.full((height, width, 3), 60 + n * 5 % 120, np.uint8)
            image[height // 2 :, n * 3 % width :] = 220
            stamp.draw(image, n, 1 + n)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts, picture.time_base = start + n * 90_000 // rate, Fraction(1, 90_000)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if sound is not None:
            _add_tone(container, sound, samples=48_000 * frames // rate)
    return path


def _add_tone(container: av.container.OutputContainer, stream: av.AudioStream, *, samples: int) -> None:
    times = np.arange(samples) / 48_000
    tone = np.tile((0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32), (2, 1))
    resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=48_000)
    for begin in range(0, samples, 1024):
        piece = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(tone[:, begin : begin + 1024]), format="fltp", layout="stereo"
        )
        piece.sample_rate, piece.pts, piece.time_base = 48_000, begin, Fraction(1, 48_000)
        for resampled in resampler.resample(piece):
            container.mux(stream.encode(resampled))
    container.mux(stream.encode(None))


def counters(path: Path) -> list[int | None]:
    """The stamps of a file's pictures, in order."""
    with av.open(str(path)) as container:
        pictures = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    return [read.counter if (read := stamp.read(picture)) is not None else None for picture in pictures]


def times(path: Path) -> list[float]:
    """The moments of a file's pictures, in seconds."""
    with av.open(str(path)) as container:
        return [float(picture.time) for picture in container.decode(video=0)]
