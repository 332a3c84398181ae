"""How far painted pictures are from the maps they were held to: the validation number of one-step ControlNets.

As edge skill does (``evaluation.edges``), each picture's error under its own map is compared with its error under the
maps of others, so that what all of them have in common counts for nothing: 0 is perfect control, 1 is none.

Lines are compared without thresholds, so that pale and blurred pictures are judged too: the error is the share of
pairs, of a place on a line and one away from all lines, in which the picture changes less on the line (1 − the area
under the ROC curve). Maps of other kinds are drawn again from the painted picture: the error is their mean difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.condition import DRAWN
from pipelines.training.data.maps import draw_map

Picture = NDArray[np.uint8]
Map = NDArray[np.float32]
#: The kinds that are drawn as lines.
LINES = ("canny", "sketch")
#: How many others each picture is compared with.
OTHERS = 4
_NEAR, _AWAY = np.ones((3, 3), np.uint8), np.ones((7, 7), np.uint8)  # 1 and 3 pixels around


def control_error(kind: str, given: Sequence[Map], painted: Sequence[Picture]) -> float:
    """``given``: maps 3×H×W in [0, 1], as ``draw_map`` gives them; ``painted``: uint8 H×W×3 RGB, two at least.

    The mean over the pictures of (error under the own map / mean error under others').
    """
    count = len(painted)
    found = []
    for place, picture in enumerate(painted):
        others = [(place + step) % count for step in range(1, min(OTHERS, count - 1) + 1)]
        own, *rest = _errors(kind, [given[place], *(given[other] for other in others)], picture)
        found.append(own / max(float(np.mean(rest)), 1e-6))
    return float(np.mean(found))


def line_error(lines: NDArray[np.bool_], strength: NDArray[np.float32]) -> float:
    """``lines``: H×W; ``strength``: of the picture. Places two and three pixels away from a line are not asked; a map
    without lines says nothing (0.5)."""
    on = strength[lines]
    away = np.sort(strength[cv2.dilate(lines.astype(np.uint8), _AWAY) == 0])
    if not len(on) or not len(away):
        return 0.5
    weaker = np.searchsorted(away, on, "left") + np.searchsorted(away, on, "right")
    return float(1 - weaker.mean() / (2 * len(away)))


def line_strength(picture: Picture) -> NDArray[np.float32]:
    """How much the picture changes at most within one pixel of each place, H×W: one pixel of tolerance."""
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.8).astype(np.float32)
    across = np.square(cv2.Sobel(smooth, cv2.CV_32F, 1, 0)) + np.square(cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    return np.asarray(cv2.dilate(np.sqrt(across.sum(-1)), _NEAR), np.float32)


def _errors(kind: str, given: Sequence[Map], picture: Picture) -> list[float]:
    """One picture's error under each of some maps."""
    if kind not in LINES:
        again = draw_map(kind, picture, np.random.default_rng(0))
        return [float(np.abs(again - each).mean()) for each in given]
    strength, white = line_strength(picture), [each[0] >= 0.5 for each in given]
    return [line_error(each if DRAWN[kind] == "white on black" else ~each, strength) for each in white]
