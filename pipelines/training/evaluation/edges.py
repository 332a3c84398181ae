"""Edge skill: how well the painted pictures keep the edges they were given. At most 1, higher is better, 0 is chance.

Of each painted picture, its edges' F1 with the edges it was given, less what they reach against the edges of the other
pictures by chance: (F1 − mean F1 with the others) / (1 − that mean); the mean over the pictures. Edges are Canny's with
thresholds 80 and 160, and one pixel of tolerance is given. Classical filters that see the whole picture reach 0.49 to
0.78 on photographs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
#: scikit-image's that come with it: people, a cat, things, coins, a night, an eye. No model of this project
#: was trained on them. (Its ``cat`` is ``chelsea`` again.)
HELD_OUT = ("astronaut", "coffee", "chelsea", "rocket", "camera", "coins", "stereo_motorcycle", "retina")
LOW, HIGH = 80, 160


def held_out_photographs(names: Sequence[str] = HELD_OUT[:4], size: int = 256) -> dict[str, Picture]:
    """scikit-image's photographs, never trained on: the middle square, size×size×3 uint8 RGB."""
    from skimage import color, data

    pictures = {}
    for name in names:
        found = getattr(data, name)()
        picture = found[0] if isinstance(found, tuple) else found  # the left eye's
        picture = picture if picture.ndim == 3 else (color.gray2rgb(picture)).astype(np.uint8)
        side = min(picture.shape[:2])
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        square = picture[top : top + side, left : left + side, :3]
        pictures[name] = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    return pictures


def edges_of(picture: Picture, low: int = LOW, high: int = HIGH) -> NDArray[np.uint8]:
    """Canny edges, H×W, 0 or 255."""
    return cv2.Canny(picture, low, high)


def edge_f1(given: NDArray[np.uint8], found: NDArray[np.uint8]) -> float:
    """F1 of two edge maps with one pixel of tolerance: precision and recall each against the other map grown by one."""
    grow = np.ones((3, 3), np.uint8)
    precision = _share(found, cv2.dilate(given, grow))
    recall = _share(given, cv2.dilate(found, grow))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def edge_skill(given: Mapping[str, NDArray[np.uint8]], painted: Mapping[str, Picture]) -> float:
    """Edge skill of ``painted`` for the edge maps ``given``, by the pictures' names; two pictures at least."""
    skills = []
    for name, picture in painted.items():
        found = edges_of(picture)
        chance = float(np.mean([edge_f1(other, found) for key, other in given.items() if key != name]))
        skills.append((edge_f1(given[name], found) - chance) / (1 - chance))
    return float(np.mean(skills))


def _share(part: NDArray[np.uint8], whole: NDArray[np.uint8]) -> float:
    hit = np.count_nonzero(part)
    return float(np.count_nonzero(part & whole) / hit) if hit else 0.0
