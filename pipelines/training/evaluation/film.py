"""The frames of a short film, for the warp error."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TrainingError


def read_film(path: str | Path, *, frames: int) -> list[NDArray[np.uint8]]:
    """The first ``frames`` of a video file, uint8 H×W×3 RGB. Raises TrainingError where there are fewer than two."""
    film = cv2.VideoCapture(str(path))
    found: list[NDArray[np.uint8]] = []
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
