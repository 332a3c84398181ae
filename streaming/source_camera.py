"""A local camera, through OpenCV."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np

from streaming.errors import SourceError
from streaming.frame import VIDEO_TIME_BASE, Frame


class CameraSource:
    """``device``: a number, or a path like ``/dev/video0``. Its pictures come at the camera's own speed."""

    def __init__(self, device: int | str) -> None:
        """Raises SourceError if there is no such camera or it is in use."""
        self.name = f"camera {device}"
        self._lock = threading.Lock()
        self._closed = False
        self._seq = 0
        self._start_ns = 0
        self._pts = -1
        self._capture = cv2.VideoCapture(device)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(
                f"There is no {self.name}, or another program uses it; close that program or name another camera."
            )
        # The driver's queue would be a queue before ours.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def read(self) -> Frame | None:
        with self._lock:
            if self._closed:
                return None
            good, picture = self._capture.read()
        captured_ns = time.monotonic_ns()
        if not good:
            if self._closed:
                return None
            raise SourceError(f"The {self.name} gives no more pictures; is it still plugged in?")
        if self._seq == 0:
            self._start_ns = captured_ns
        now = (captured_ns - self._start_ns) * VIDEO_TIME_BASE.denominator // 1_000_000_000
        self._pts = max(now, self._pts + 1)
        image = np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        frame = Frame(image=image, seq=self._seq, pts=self._pts, captured_ns=captured_ns)
        self._seq += 1
        return frame

    def close(self) -> None:
        self._closed = True
        with self._lock:  # OpenCV crashes if a camera is let go of under a read
            self._capture.release()
