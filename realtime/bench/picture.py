"""Something to paint: a moving picture with edges, made up, the same in every run."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def moving_picture(index: int, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 H×W×3: a room of boxes and a face that drifts, about as many edges as a webcam picture has."""
    image = np.full((height, width, 3), (70, 80, 95), np.uint8)
    rng = np.random.default_rng(7)
    for _ in range(14):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        w, h = int(rng.integers(width // 10, width // 3)), int(rng.integers(height // 10, height // 3))
        cv2.rectangle(image, (x, y), (x + w, y + h), tuple(int(c) for c in rng.integers(20, 235, 3)), -1)
    centre = (width // 2 + int(width * 0.15 * np.sin(index / 9)), height // 2)
    cv2.ellipse(image, centre, (width // 6, height // 4), 0, 0, 360, (205, 160, 130), -1)
    for side in (-1, 1):
        cv2.circle(image, (centre[0] + side * width // 16, centre[1] - height // 20), width // 50, (30, 25, 25), -1)
    cv2.ellipse(image, (centre[0], centre[1] + height // 10), (width // 16, height // 40), 0, 0, 180, (120, 40, 40), 3)
    return image
