"""How much ``init_strength`` brings in the camera's own colours.

The chroma (a* and b* of CIELAB) of the camera's picture and of the painted one, each averaged over 8×8 cells, all
pictures of a style together. ``colour-correlation``: Pearson's of the two, −1 to 1, higher is better, 0 where the
painted colours tell nothing of the camera's. ``colour-slope``: the least-squares line's, how much chroma comes through:
0 is none, 1 as much as the camera's.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.training.evaluation.bench import Bench
from pipelines.training.evaluation.score import Score

Picture = NDArray[np.uint8]
INIT_STRENGTHS = (0.0, 0.5, 1.0)
CELLS = 8


def measure(bench: Bench) -> list[Score]:
    """The mean over styles at each init_strength, and each style's own correlation at the highest."""
    found: dict[float, dict[str, tuple[float, float]]] = {}
    for strength in INIT_STRENGTHS:
        found[strength] = {}
        for name, prompt in bench.named_styles().items():
            settings = bench.settings([prompt] * len(bench.pictures), bench.control, init_strength=strength)
            painted = bench.painter.paint(bench.pictures, settings)
            found[strength][name] = kept(bench.pictures, painted)
    about = f"{bench.control} {bench.wanted.strength:g}, {len(bench.pictures)} pictures"
    return [score for strength in INIT_STRENGTHS for score in _scores(strength, found[strength], about)]


def kept(given: Sequence[Picture], painted: Sequence[Picture]) -> tuple[float, float]:
    """Correlation and slope of the painted chroma over the given, over all pictures; 0 where either is flat."""
    camera, picture = (np.concatenate([chroma(each) for each in some]) for some in (given, painted))
    camera, picture = camera - camera.mean(0), picture - picture.mean(0)
    together, own = float((camera * picture).sum()), float((camera**2).sum())
    spread = float(np.sqrt(own * (picture**2).sum()))
    return together / spread if spread else 0.0, together / own if own else 0.0


def chroma(picture: Picture) -> NDArray[np.float64]:
    """a* and b* of the means of 8×8 cells, 64×2, of a uint8 H×W×3 RGB picture."""
    small = cv2.resize(picture.astype(np.float32) / 255, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[..., 1:].reshape(-1, 2).astype(np.float64)


def _scores(strength: float, by_style: dict[str, tuple[float, float]], about: str) -> list[Score]:
    lines = []
    if strength == max(INIT_STRENGTHS) and len(by_style) > 1:
        for name, (alike, slope) in by_style.items():
            lines.append(Score(metric="colour-correlation", value=alike, better="higher", part=name, about=name))
            lines.append(Score(metric="colour-slope", value=slope, better="higher", part=name, about=name))
    alike, slope = np.mean(list(by_style.values()), 0)
    about = f"init_strength {strength:g}, mean of {len(by_style)} styles, {about}"
    return [
        *lines,
        Score(metric="colour-correlation", value=float(alike), better="higher", part=f"{strength:g}", about=about),
        Score(metric="colour-slope", value=float(slope), better="higher", part=f"{strength:g}", about=about),
    ]
