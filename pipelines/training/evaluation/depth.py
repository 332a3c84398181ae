"""Depth accuracy: whether the painted picture has the depth it was given.

The estimator that drew the given map looks at the painted picture too. Its answer has neither a scale nor an origin, so
it is first fitted to the given one by least squares (scale and shift, as MiDaS is measured: arXiv 1907.01341, eq. 1);
what then remains, relative to the given map's own spread, is the error: √(mean (s·d + b − g)²) / std(g), 0 to 1, lower
is better, 1 where the painted depth tells nothing. ``depth-correlation`` is Pearson's of both maps, −1 to 1, higher is
better; an upside-down depth shows there alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.training.evaluation.score import Score

Depth = NDArray[np.float32]


def depth_error(given: Depth, found: Depth) -> float:
    """Scale- and shift-invariant error of two maps H×W, relative to the given's spread; 0 where that is flat."""
    spread = float(given.std())
    if spread == 0:
        return 0.0
    ones = np.ones(found.size)
    design = np.stack([found.ravel().astype(np.float64), ones], 1)
    wanted = given.ravel().astype(np.float64)
    fitted = design @ np.linalg.lstsq(design, wanted, rcond=None)[0]
    return float(np.sqrt(np.mean((fitted - wanted) ** 2)) / spread)


def depth_correlation(given: Depth, found: Depth) -> float:
    """Pearson's correlation of two maps H×W; 0 where either is flat."""
    if given.std() == 0 or found.std() == 0:
        return 0.0
    return float(np.corrcoef(given.ravel(), found.ravel())[0, 1])


def scores(given: Sequence[Depth], found: Sequence[Depth], *, about: str) -> list[Score]:
    """As lines of the table: the means over the pictures."""
    pairs = list(zip(given, found, strict=True))
    errors = [depth_error(one, other) for one, other in pairs]
    alike = [depth_correlation(one, other) for one, other in pairs]
    return [
        Score(metric="depth-error", value=float(np.mean(errors)), better="lower", about=about),
        Score(metric="depth-correlation", value=float(np.mean(alike)), better="higher", about=about),
    ]
