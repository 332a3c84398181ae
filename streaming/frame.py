"""Frame: one picture with the times it carries from source to sink, so that latency is measured and never guessed."""

from __future__ import annotations

import dataclasses
import functools
import time
from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # imported where it is needed: who paints frames without a codec runs without it
    import av

#: The RTP clock of video (RFC 3551 section 5): every Frame made from WebRTC uses it.
VIDEO_TIME_BASE = Fraction(1, 90_000)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One picture in flight.

    ``image`` is uint8 H×W×3, RGB, C-contiguous; treat it as read-only. ``seq`` counts the frames of one source from 0.
    ``pts`` is in units of ``time_base`` seconds. ``captured_ns``: ``time.monotonic_ns()`` when the picture reached us.
    """

    image: NDArray[np.uint8]
    seq: int
    pts: int
    time_base: Fraction = VIDEO_TIME_BASE
    captured_ns: int = dataclasses.field(default_factory=time.monotonic_ns)

    @classmethod
    def from_video_frame(cls, picture: av.VideoFrame, *, seq: int, captured_ns: int | None = None) -> Frame:
        """Convert a decoded picture (any pixel format) to RGB, keeping its pts."""
        return cls(
            image=np.ascontiguousarray(picture.to_ndarray(format="rgb24")),
            seq=seq,
            pts=picture.pts if picture.pts is not None else 0,
            time_base=picture.time_base or VIDEO_TIME_BASE,
            captured_ns=time.monotonic_ns() if captured_ns is None else captured_ns,
        )

    @property
    def format(self) -> str:
        """The pixel format that it is in, as FFmpeg names it: what an encoder is given without a conversion."""
        return "rgb24"

    def to_video_frame(self, format: str = "yuv420p") -> av.VideoFrame:
        """The same picture for an encoder, pts and time base kept. Odd sizes lose their last row or column."""
        import av

        height, width = self.image.shape[0] & ~1, self.image.shape[1] & ~1
        even = np.ascontiguousarray(self.image[:height, :width])
        return self._timed(av.VideoFrame.from_ndarray(even, format="rgb24"), format)

    def replace_image(self, image: NDArray[np.uint8]) -> Frame:
        """The painted frame: another picture, the same identity and times.

        uint8 H×W×3, RGB, or the planes of I420, uint8 (3H/2)×W.
        """
        if image.ndim == 3:
            return Frame(
                image=image, seq=self.seq, pts=self.pts, time_base=self.time_base, captured_ns=self.captured_ns
            )
        return PlanarFrame(
            planes=image, seq=self.seq, pts=self.pts, time_base=self.time_base, captured_ns=self.captured_ns
        )

    def retimed(self, like: Frame) -> Frame:
        """The same picture with the number and times of another one."""
        return like.replace_image(self.image)

    def _timed(self, picture: av.VideoFrame, format: str) -> av.VideoFrame:
        if picture.format.name != format:
            picture = picture.reformat(format=format)
        picture.pts, picture.time_base = self.pts, self.time_base
        return picture


class PlanarFrame(Frame):
    """A Frame in the form that encoders take, so that it is converted once for all viewers, or never.

    ``planes``: uint8 (3H/2)×W, I420 in ITU-R BT.601's video range: H rows of Y, then U and V at half the sides, each
    filling H/4 rows. ``image`` is made of them when somebody asks for it.
    """

    planes: NDArray[np.uint8]

    def __init__(self, *, planes: NDArray[np.uint8], seq: int, pts: int, time_base: Fraction, captured_ns: int) -> None:
        fields = {"planes": planes, "seq": seq, "pts": pts, "time_base": time_base, "captured_ns": captured_ns}
        self.__dict__.update(fields)  # it is frozen

    @functools.cached_property
    def image(self) -> NDArray[np.uint8]:
        return np.asarray(cv2.cvtColor(self.planes, cv2.COLOR_YUV2RGB_I420), dtype=np.uint8)

    @property
    def format(self) -> str:
        return "yuv420p"

    def retimed(self, like: Frame) -> Frame:
        return like.replace_image(self.planes)

    def to_video_frame(self, format: str = "yuv420p") -> av.VideoFrame:
        import av

        return self._timed(av.VideoFrame.from_ndarray(self.planes, format="yuv420p"), format)
