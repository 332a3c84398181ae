"""How well the painted pictures keep the edges they were given, on photographs never trained on (scikit-image's)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.training.picture import open_pipeline, paint
from pipelines.training.shipped import PRESETS

Picture = NDArray[np.uint8]
HELD_OUT = ("astronaut", "coffee", "chelsea", "rocket", "camera", "brick", "cat", "immunohistochemistry")


def held_out_photographs(names: Sequence[str] = HELD_OUT[:4], size: int = 256) -> dict[str, Picture]:
    """scikit-image's photographs, the middle square, size×size×3 uint8 RGB."""
    from skimage import color, data

    pictures = {}
    for name in names:
        picture = getattr(data, name)()
        picture = picture if picture.ndim == 3 else (color.gray2rgb(picture)).astype(np.uint8)
        side = min(picture.shape[:2])
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        square = picture[top : top + side, left : left + side, :3]
        pictures[name] = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    return pictures


def edges_of(picture: Picture, low: int = 80, high: int = 160) -> NDArray[np.uint8]:
    """Canny edges, H×W, 0 or 255."""
    return cv2.Canny(picture, low, high)


def edge_f1(given: NDArray[np.uint8], found: NDArray[np.uint8]) -> float:
    """F1 of two edge maps with one pixel of tolerance: precision and recall each against the other map grown by one."""
    grow = np.ones((3, 3), np.uint8)
    precision = _share(found, cv2.dilate(given, grow))
    recall = _share(given, cv2.dilate(found, grow))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def edge_skill(given: Mapping[str, NDArray[np.uint8]], painted: Mapping[str, Picture]) -> float:
    """Mean over pictures of (F1 with its own edges − mean F1 with the others' edges) / (1 − that mean): 1 is perfect,
    0 is what any picture's edges reach by chance."""
    skills = []
    for name, picture in painted.items():
        found = edges_of(picture)
        chance = float(np.mean([edge_f1(other, found) for key, other in given.items() if key != name]))
        skills.append((edge_f1(given[name], found) - chance) / (1 - chance))
    return float(np.mean(skills))


def measure(directory: Path, *, strength: float = 1.0, seed: int = 0) -> dict[str, float]:
    """Edge skill of an exported model for each preset prompt, on four held-out photographs at 256×256."""
    pipeline = open_pipeline(directory)
    given = {name: edges_of(picture) for name, picture in held_out_photographs().items()}
    return {
        label: edge_skill(
            given,
            {
                name: paint(pipeline, edges, prompt, seed=seed + index, strength=strength)
                for index, (name, edges) in enumerate(given.items())
            },
        )
        for label, prompt in PRESETS
    }


def _share(part: NDArray[np.uint8], whole: NDArray[np.uint8]) -> float:
    hit = np.count_nonzero(part)
    return float(np.count_nonzero(part & whole) / hit) if hit else 0.0
