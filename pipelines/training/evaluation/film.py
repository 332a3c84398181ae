"""A short film for the warp error: its frames, and what the live path makes of those that were painted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.settings import Settings
from pipelines.steady import Steadier

Picture = NDArray[np.uint8]


def read_film(path: str | Path, *, frames: int) -> list[Picture]:
    """The first ``frames`` of a video file, uint8 H×W×3 RGB. Raises TrainingError where there are fewer than two."""
    film = cv2.VideoCapture(str(path))
    found: list[Picture] = []
    try:
        while len(found) < frames:
            there, picture = film.read()
            if not there:
                break
            found.append(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8))
    finally:
        film.release()
    if len(found) < 2:
        raise TrainingError(f"{path} is no video of two frames or more that can be read.")
    return found


def steadied(frames: Sequence[Picture], painted: Sequence[Picture], settings: Settings) -> list[Picture]:
    """The painted frames as they are shown live, by ``settings.steadiness``: all uint8 H×W×3 RGB of one size."""
    steady = Steadier()
    return [steady.picture(camera, picture, settings) for camera, picture in zip(frames, painted, strict=True)]
