"""Which depths are spread over black to white: smoothed over the maps of one stream, and taken anew at a scene cut."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

#: Ranges that share less than this part of what they cover together don't belong to one scene.
LEAST_OVERLAP = 0.5
#: Pictures whose coarse forms correlate less than this don't belong to one scene.
LEAST_LIKENESS = 0.5
#: A picture whose coarse forms deviate less than this (levels of 255, standard deviation) shows nothing.
_FLAT = 2.0


class DepthRange:
    """The (lowest, highest) value that is shown, of one stream of maps."""

    def __init__(self) -> None:
        self._shown: tuple[float, float] | None = None

    def follow(self, low: float, high: float, *, smoothing: float, cut: bool = False) -> tuple[float, float]:
        """Move from the last range towards that of this map, ``low`` to ``high``: by 1 − ``smoothing`` of the way.

        All the way at the first map, at a ``cut``, and when the two overlap by less than half of what they cover
        together: a range that is so wrong would be wrong for seconds.
        """
        if self._shown is None or cut or _overlap(self._shown, (low, high)) < LEAST_OVERLAP:
            self._shown = (low, high)
        else:
            old_low, old_high = self._shown
            self._shown = (old_low + (1 - smoothing) * (low - old_low), old_high + (1 - smoothing) * (high - old_high))
        return self._shown


class SceneWatch:
    """Tells when a stream of pictures shows another scene: brightness may change, coarse forms may not."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def is_cut(self, image: NDArray[np.uint8]) -> bool:
        """Whether uint8 H×W×3 ``image`` shows another scene than the one before it. The first is no cut."""
        grey = cv2.cvtColor(cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        forms = grey.astype(np.float32) - grey.mean(dtype=np.float32)
        last, self._last = self._last, forms
        if last is None:
            return False
        flat, was_flat = forms.std() < _FLAT, last.std() < _FLAT
        if flat or was_flat:
            return bool(flat != was_flat)
        return bool((forms * last).sum() < LEAST_LIKENESS * np.linalg.norm(forms) * np.linalg.norm(last))


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Intersection over union of two intervals; 1 for two equal points."""
    union = max(one[1], other[1]) - min(one[0], other[0])
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return max(0.0, shared) / union if union > 0 else 1.0
