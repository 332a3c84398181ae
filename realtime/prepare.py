"""From a camera frame to what the model takes: cropped, resized, its edges drawn. Runs in a small pool of threads."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pipelines.condition import Conditioner
from pipelines.settings import Settings
from realtime.fit import fit
from streaming.frame import Frame


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prepared:
    """One frame ready for the model, with the one Settings snapshot it is drawn and painted with.

    ``image`` is the frame at the model's size (uint8 H×W×3), ``condition`` its map (uint8 H×W), ``change_id`` the id of
    the newest settings change that the snapshot contains.
    """

    frame: Frame
    image: NDArray[np.uint8]
    condition: NDArray[np.uint8]
    settings: Settings
    change_id: int = 0

    @property
    def kind(self) -> tuple[str, tuple[int, ...]]:
        """What frames of one batch have in common: control and size."""
        return self.settings.control, self.condition.shape


class Preparer:
    """Makes Prepared frames of ``size`` (height, width). Any thread."""

    def __init__(self, *, size: tuple[int, int], conditioner: Conditioner) -> None:
        self.size = size
        self._conditioner = conditioner

    def __call__(self, frame: Frame, settings: Settings, change_id: int = 0) -> Prepared:
        image = fit(frame.image, self.size)
        condition = self._conditioner(image, settings).map
        return Prepared(frame=frame, image=image, condition=condition, settings=settings, change_id=change_id)


def make_pool() -> ThreadPoolExecutor:
    """Enough threads to keep up with many cameras, few enough to leave the cores to the model."""
    return ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="prepare")
