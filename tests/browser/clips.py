"""Clips for the browser's fake camera, generated: moving pictures with the measuring stamp."""

from __future__ import annotations

from pathlib import Path

import av

from realtime.bench.picture import moving_picture
from streaming import stamp
from streaming.frame import Frame


def stamped_clip(path: Path, *, side: int = 512, fps: int = 30, frames: int = 90) -> Path:
    """A y4m file (what Chromium's fake camera plays, looped) whose n-th picture is stamped with counter n."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{side} H{side} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for index in range(frames):
            image = moving_picture(index, side, side)
            stamp.draw(image, index, index * 1000 // fps)
            picture = Frame(image=image, seq=index, pts=index).to_video_frame("yuv420p")
            file.write(b"FRAME\n" + _planes(picture))
    return path


def _planes(picture: av.VideoFrame) -> bytes:
    return picture.to_ndarray(format="yuv420p").tobytes()
