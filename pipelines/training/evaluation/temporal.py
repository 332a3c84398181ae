"""Warp error: how much a painted clip flickers beyond what moves in it. 0 to 255 grey levels, lower is better.

Optical flow of the input clip (OpenCV's DIS) says where each pixel of frame t + 1 was in frame t; the painted frame t
is carried there and compared with the painted frame t + 1: the mean absolute difference over the pixels that both
frames show (Lai et al., arXiv 1808.00449, eq. 5, with L1). Pixels are left out where the flow there and back doesn't
return within a pixel, or comes from outside. The input's own error, by the same flow, is what noise and imperfect flow
cost: the ratio to it is the number to look at, 1 for a painter that adds none. Of a camera that stands still the plain
frame difference is told too (``frame-error``).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.training.evaluation.score import Score

Picture = NDArray[np.uint8]
Flow = NDArray[np.float32]
#: Pixels that the flow there and back may miss.
_AGREEMENT = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class WarpError:
    """Grey levels, the mean over the pairs of frames."""

    painted: float
    given: float

    @property
    def ratio(self) -> float:
        """How many times the input's own; 0 where neither has any."""
        return self.painted / self.given if self.given else float("inf") if self.painted else 0.0


def warp_error(given: Sequence[Picture], painted: Sequence[Picture]) -> WarpError:
    """Of two clips of the same length and size, uint8 H×W×3 RGB. Raises TrainingError for fewer than two frames."""
    if len(given) != len(painted) or len(given) < 2:
        raise TrainingError("A warp error needs two clips of as many frames each, two at least.")
    errors = []
    for (now, later), (first, second) in zip(itertools.pairwise(given), itertools.pairwise(painted), strict=True):
        back, seen = _flow_back(now, later)
        if seen.any():  # not across a cut
            errors.append((_difference(first, second, back, seen), _difference(now, later, back, seen)))
    if not errors:
        raise TrainingError("The clip's frames have nothing in common: give one without cuts.")
    of_painted, of_given = np.mean(errors, 0)
    return WarpError(painted=float(of_painted), given=float(of_given))


def frame_difference(given: Sequence[Picture], painted: Sequence[Picture]) -> WarpError:
    """The same for a camera that stands still, where nothing has to be carried: plain mean absolute differences."""
    of_given, of_painted = (
        float(np.mean([np.abs(a.astype(np.float32) - b).mean() for a, b in itertools.pairwise(clip)]))
        for clip in (given, painted)
    )
    return WarpError(painted=of_painted, given=of_given)


def scores(found: Mapping[str, WarpError], *, about: str, part: str = "", metric: str = "warp") -> list[Score]:
    """As lines of the table: of one style, or the mean over styles by name, and the worst of them."""
    by = {
        f"{metric}-error": [each.painted for each in found.values()],
        f"{metric}-error-input": [each.given for each in found.values()],
        f"{metric}-ratio": [each.ratio for each in found.values()],
    }
    whom = next(iter(found)) if len(found) == 1 else f"mean of {len(found)} styles"
    lines = [
        Score(metric=name, value=float(np.mean(values)), better="lower", part=part, about=f"{about}, {whom}")
        for name, values in by.items()
    ]
    if len(found) > 1:
        worst = max(found, key=lambda name: found[name].ratio)
        of_worst = f"{about}, worst style: {worst}"
        ratio = found[worst].ratio
        lines.append(
            Score(metric=f"{metric}-ratio", value=ratio, better="lower", part=f"{part} worst".strip(), about=of_worst)
        )
    return lines


def still(photograph: Picture, *, frames: int = 8, noise: float = 3.0, seed: int = 0) -> list[Picture]:
    """A camera that doesn't move, with a sensor's noise of that many grey levels (one standard deviation)."""
    rng = np.random.default_rng(seed)
    noisy = (photograph + rng.normal(0, noise, photograph.shape) for _ in range(frames))
    return [np.rint(each).clip(0, 255).astype(np.uint8) for each in noisy]


def pan(photograph: Picture, *, frames: int = 8, pixels: float = 1.5) -> list[Picture]:
    """A slow pan to the right over a photograph, H×W×3; frames of 7/8 of its sides."""
    height, width = (side * 7 // 8 for side in photograph.shape[:2])
    middle = ((photograph.shape[0] - height) // 2) + (height - 1) / 2
    centres = [((width - 1) / 2 + pixels * frame, middle) for frame in range(frames)]
    return [np.asarray(cv2.getRectSubPix(photograph, (width, height), centre), np.uint8) for centre in centres]


def _flow_back(now: Picture, later: Picture) -> tuple[Flow, NDArray[np.bool_]]:
    """Where each pixel of ``later`` was in ``now`` (map of x and y), and which of them both frames show."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (now, later)]
    back, forth = dis.calc(grey[1], grey[0], None), dis.calc(grey[0], grey[1], None)
    height, width = grey[0].shape
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    there = here + back
    returned = back + cv2.remap(forth, there, None, cv2.INTER_LINEAR)
    inside = ((there >= 0) & (there <= (width - 1, height - 1))).all(-1)
    return there, inside & (np.linalg.norm(returned, axis=-1) <= _AGREEMENT)


def _difference(first: Picture, second: Picture, there: Flow, seen: NDArray[np.bool_]) -> float:
    carried = cv2.remap(first.astype(np.float32), there, None, cv2.INTER_LINEAR)
    return float(np.abs(carried - second)[seen].mean())
