"""A video file, through PyAV."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from streaming.errors import SourceError
from streaming.frame import VIDEO_TIME_BASE, Frame
from streaming.pacing import Pace

_DEFAULT_RATE = Fraction(30)


class FileSource:
    """Every picture of a file in turn, upright; at its own pace and from the start again at the end, if asked to."""

    def __init__(self, path: Path, *, pace: bool, loop: bool) -> None:
        """Raises SourceError if the file isn't there or isn't a video."""
        self.name = path.name
        self._path = path
        self._paced = pace
        self._loop = loop
        self._pace = Pace()
        self._seq = 0
        self._last_pts = -1
        self._container = self._open()
        stream = self._container.streams.video[0]
        #: Pictures in the file, as far as it says so; None otherwise.
        self.frame_count: int | None = stream.frames or None
        #: Pictures a second, on average.
        self.rate: Fraction = stream.average_rate or _DEFAULT_RATE
        #: (height, width) in pixels, before turning upright.
        self.size: tuple[int, int] = (stream.height, stream.width)
        self._pictures = self._play()
        self._lock = threading.Lock()

    def read(self) -> Frame | None:
        with self._lock:
            return self._read()

    def close(self) -> None:
        self._pace.stop()
        with self._lock:  # PyAV must not lose the file under a decode
            self._pictures.close()
            self._container.close()

    def _read(self) -> Frame | None:
        picture = next(self._pictures, None) if not self._pace.stopped else None
        if picture is None:
            return None
        pts = max(picture.pts if picture.pts is not None else 0, self._last_pts + 1)
        time_base = picture.time_base or VIDEO_TIME_BASE
        if self._paced and not self._pace.wait_for(float(pts * time_base)):
            return None
        frame = Frame(image=_upright(picture), seq=self._seq, pts=pts, time_base=time_base)
        self._seq, self._last_pts = self._seq + 1, pts
        return frame

    def _play(self) -> Generator[av.VideoFrame, None, None]:
        offset = end = 0
        while True:
            first: int | None = None
            count = 0
            with self._container:
                for picture in self._decode():
                    step = max(1, round(1 / (self.rate * (picture.time_base or VIDEO_TIME_BASE))))
                    own = picture.pts if picture.pts is not None else count * step
                    # The first round keeps the file's own pts; later ones go on behind it.
                    first = own if first is None else first
                    picture.pts = own if offset == 0 else offset + own - first
                    count += 1
                    yield picture
                    end = max(picture.pts, self._last_pts) + step
            if count == 0:
                raise SourceError(f"{self.name} has no picture in it that can be read.")
            if not self._loop or self._pace.stopped:
                return
            offset = end
            self._container = self._open()

    def _decode(self) -> Iterator[av.VideoFrame]:
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        try:
            yield from self._container.decode(stream)
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self.name} breaks off: {_words(error)}.") from error

    def _open(self) -> av.container.InputContainer:
        if not self._path.is_file():
            raise SourceError(f"There is no file {str(self._path)!r}.")
        try:
            container = av.open(str(self._path))
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self.name} can't be read as a video: {_words(error)}.") from error
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self.name} has no video in it.")
        return container


def _upright(picture: av.VideoFrame) -> np.ndarray:
    """RGB, turned as the file's display matrix says: phones record lying and note how they were held."""
    image = picture.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, k=round(picture.rotation / 90)))


def _words(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
