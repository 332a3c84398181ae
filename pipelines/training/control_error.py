"""How far a painted picture is from the map it was held to: the validation number of one-step ControlNets.

Lines are compared without thresholds, so that pale or blurred pictures are judged too: the share of pairs, of a place
on a line and one away from all lines, in which the picture changes less on the line (1 − the area under the ROC curve).
0 is perfect control, 0.5 none.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.condition import DRAWN
from pipelines.training.data.maps import draw_map

Picture = NDArray[np.uint8]
#: The kinds that are drawn as lines; of others the map is drawn again from the painted picture.
LINES = ("canny", "sketch")
_NEAR, _AWAY = np.ones((3, 3), np.uint8), np.ones((7, 7), np.uint8)  # 1 and 3 pixels around


def control_error(kind: str, given: NDArray[np.float32], painted: Picture) -> float:
    """``given``: 3×H×W in [0, 1], as ``draw_map`` gives it; ``painted``: uint8 H×W×3 RGB. 0 is perfect.

    Of lines see above (0.5 for a map without any); of other kinds the mean difference of the two maps.
    """
    if kind not in LINES:
        return float(np.abs(draw_map(kind, painted, np.random.default_rng(0)) - given).mean())
    white = given[0] >= 0.5
    return line_error(white if DRAWN[kind] == "white on black" else ~white, painted)


def line_error(lines: NDArray[np.bool_], painted: Picture) -> float:
    """``lines``: H×W. One pixel of tolerance; places two and three pixels away from a line are not asked."""
    strength = _strength(painted)
    on = np.sort(strength[lines])
    away = np.sort(strength[cv2.dilate(lines.astype(np.uint8), _AWAY) == 0])
    if not len(on) or not len(away):
        return 0.5
    weaker = np.searchsorted(away, on, "left") + np.searchsorted(away, on, "right")
    return float(1 - weaker.mean() / (2 * len(away)))


def _strength(picture: Picture) -> NDArray[np.float32]:
    """How much the picture changes at most within one pixel of each place, in any colour."""
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.8).astype(np.float32)
    across = np.square(cv2.Sobel(smooth, cv2.CV_32F, 1, 0)) + np.square(cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    return np.asarray(cv2.dilate(np.sqrt(across.sum(-1)), _NEAR), np.float32)
