"""Steady: what flickers in a painted clip is averaged out over time, along with what the camera saw move.

y_t = W(y_{t−1}) + a·(x_t − W(y_{t−1})): of the painted picture x_t the share a is taken, the rest from the picture
shown last, carried by the optical flow W of the camera's pictures. a is 1 − ``steadiness`` where that flow is to be
trusted (``pipelines.motion``) and 1 where it isn't: in what was uncovered, after a cut. A new setting is a new
beginning, so nothing of an old style is seen through a new one. No picture waits for a later one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.motion import Field, Grey, Motion, MotionFinder, carry
from pipelines.settings import Settings

Picture = NDArray[np.uint8]
#: Of a new picture at least this share is shown: at a steadiness of 1 too, what changes comes through in a second.
LEAST_SHARE = 0.04
#: Where less than this part of the picture can be followed from the one before it, the scene is another.
_LEAST_TRUST = 0.4


class Steady(Protocol):
    """Makes one stream of painted pictures steady. Called for one picture at a time, in order, from any thread."""

    def picture(self, camera: Picture, painted: Picture, settings: Settings, *, change_id: int = 0) -> Picture:
        """What to show for ``painted``: itself with a ``steadiness`` of 0, and where no camera is followed.

        ``camera``: uint8 H×W×3 RGB, what was painted from. ``painted``: uint8 H×W×3 RGB, or the planes of I420, uint8
        (3H/2)×W (``pipelines.frame_graph.Form``). ``change_id``: another one begins anew.
        """


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Shown:
    """The last picture that was shown, before rounding, by planes, and what it was made from."""

    grey: Grey
    planes: Sequence[Field]
    change_id: int


class Steadier:
    """A ``Steady`` by optical flow."""

    def __init__(self) -> None:
        self._find = MotionFinder()
        self._last: _Shown | None = None

    def picture(self, camera: Picture, painted: Picture, settings: Settings, *, change_id: int = 0) -> Picture:
        if not settings.steadiness or not (settings.kinds or settings.init_strength):
            self._last = None
            return painted
        grey = np.asarray(cv2.cvtColor(camera, cv2.COLOR_RGB2GRAY), np.uint8)
        planes = _planes(painted)
        last = self._last
        self._last = _Shown(grey=grey, planes=planes, change_id=change_id)
        if last is None or last.change_id != change_id or not _fits(last, self._last):
            return painted
        motion = self._find(last.grey, grey)
        if float(motion.trust.mean()) < _LEAST_TRUST:
            return painted
        share = max(LEAST_SHARE, 1.0 - settings.steadiness)
        blended = [_blend(old, new, motion, share) for old, new in zip(last.planes, planes, strict=True)]
        self._last = dataclasses.replace(self._last, planes=blended)
        return _picture(blended)


def _fits(last: _Shown, new: _Shown) -> bool:
    return last.grey.shape == new.grey.shape and [each.shape for each in last.planes] == [
        each.shape for each in new.planes
    ]


def _blend(old: Field, new: Field, motion: Motion, share: float) -> Field:
    """Planes of the motion's size, or smaller ones, as those of colour in I420."""
    height, width = new.shape[:2]
    keep, there = motion.trust, motion.there
    if keep.shape != (height, width):
        there = None if there is None else _shrunk(there, (height, width))
        keep = cv2.resize(keep, (width, height), interpolation=cv2.INTER_AREA)
    keep = keep * np.float32(1 - share)
    carried = old if there is None else carry(old, there)
    return np.asarray(new + (keep[..., None] if new.ndim == 3 else keep) * (carried - new), np.float32)


def _shrunk(there: Field, size: tuple[int, int]) -> Field:
    """The map of a plane whose pixels are as large as several."""
    height, width = size
    scale = np.array([width / there.shape[1], height / there.shape[0]], np.float32)
    means = cv2.resize(there, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray((means + 0.5) * scale - 0.5, np.float32)  # pixels have their centres at halves


def _planes(picture: Picture) -> list[Field]:
    """RGB as it is, H×W×3; of I420 Y, H×W, and U and V together, H/2×W/2×2."""
    if picture.ndim == 3:
        return [picture.astype(np.float32)]
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    colours = picture[height:].reshape(2, height // 2, width // 2).transpose(1, 2, 0)
    return [picture[:height].astype(np.float32), colours.astype(np.float32)]


def _picture(planes: Sequence[Field]) -> Picture:
    """``_planes`` undone, rounded."""
    rounded = [np.rint(plane).clip(0, 255).astype(np.uint8) for plane in planes]
    if len(rounded) == 1:
        return rounded[0]
    brightness, colours = rounded
    return np.concatenate([brightness, colours.transpose(2, 0, 1).reshape(-1, brightness.shape[1])])
