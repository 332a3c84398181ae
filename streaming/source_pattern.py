"""A test pattern that moves: something to paint where there is no camera, and something to measure with."""

from __future__ import annotations

import time
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from streaming import stamp
from streaming.frame import VIDEO_TIME_BASE, Frame
from streaming.pacing import Pace


class PatternSource:
    """Shapes with clear edges that turn and wander, ``size`` (height, width) and ``fps`` pictures a second, for ever.

    ``stamped`` adds the measuring stamp: the picture's ``seq``, and ``time.monotonic_ns()`` in milliseconds.
    """

    def __init__(
        self, *, size: tuple[int, int] = (512, 512), fps: int = 30, stamped: bool = False, pace: bool = True
    ) -> None:
        self.name = "test pattern"
        self._size = size
        self._fps = fps
        self._stamped = stamped
        self._pace = Pace()
        self._paced = pace
        self._seq = 0

    def read(self) -> Frame | None:
        seconds = Fraction(self._seq, self._fps)
        if self._pace.stopped or (self._paced and not self._pace.wait_for(float(seconds))):
            return None
        image = self._paint(float(seconds))
        if self._stamped:
            stamp.draw(image, self._seq, time.monotonic_ns() // 1_000_000)
        frame = Frame(image=image, seq=self._seq, pts=int(seconds / VIDEO_TIME_BASE))
        self._seq += 1
        return frame

    def close(self) -> None:
        self._pace.stop()

    def _paint(self, seconds: float) -> NDArray[np.uint8]:
        height, width = self._size
        unit = min(height, width) / 16
        image = np.full((height, width, 3), 40, np.uint8)
        for row in range(0, 16, 2):
            shade = 60 + 10 * row
            cv2.line(image, (0, int(row * unit)), (width, int((row + 4) * unit)), (shade, shade, 90), 2)
        swing = np.sin(seconds)
        centre = np.array([width * (0.5 + 0.25 * swing), height * (0.5 + 0.2 * np.cos(0.7 * seconds))])
        cv2.circle(image, _point(centre), int(3 * unit), (230, 180, 60), -1)
        cv2.circle(image, _point(centre + [-unit, -0.6 * unit]), int(0.5 * unit), (20, 20, 20), -1)
        cv2.circle(image, _point(centre + [unit, -0.6 * unit]), int(0.5 * unit), (20, 20, 20), -1)
        cv2.ellipse(image, _point(centre + [0, 0.6 * unit]), _point([1.5 * unit, unit]), 0, 20, 160, (20, 20, 20), 3)
        box = cv2.boxPoints(((width * 0.25, height * 0.72), (4 * unit, 2.5 * unit), 40 * seconds))
        cv2.fillPoly(image, [box.astype(np.int32)], (70, 150, 220))
        angles = 2 * np.pi * np.arange(3) / 3 - 0.8 * seconds
        corners = np.stack([width * 0.75 + 2.5 * unit * np.cos(angles), height * 0.75 + 2.5 * unit * np.sin(angles)], 1)
        cv2.fillPoly(image, [corners.astype(np.int32)], (200, 80, 110))
        return image


def _point(values: NDArray[np.float64] | list[float]) -> tuple[int, int]:
    return int(values[0]), int(values[1])
