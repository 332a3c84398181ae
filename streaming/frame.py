"""Frame: one picture with the times it carries from source to sink, so that latency is measured and never guessed."""

from __future__ import annotations

import dataclasses
import time
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

#: The RTP clock of video (RFC 3551 section 5): every Frame made from WebRTC uses it.
VIDEO_TIME_BASE = Fraction(1, 90_000)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
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

    def to_video_frame(self, format: str = "yuv420p") -> av.VideoFrame:
        """The same picture for an encoder, pts and time base kept. Odd sizes lose their last row or column."""
        height, width = self.image.shape[0] & ~1, self.image.shape[1] & ~1
        even = np.ascontiguousarray(self.image[:height, :width])
        picture = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(format=format)
        picture.pts = self.pts
        picture.time_base = self.time_base
        return picture

    def replace_image(self, image: NDArray[np.uint8]) -> Frame:
        """The painted frame: another picture, the same identity and times."""
        return dataclasses.replace(self, image=image)
