"""From a camera frame to what the model takes: fitted, its maps drawn, its colours kept. Runs in a small pool."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.settings import Settings
from realtime.fit import fit
from realtime.maps import MapKeeper
from realtime.slot import COLOUR_SHRINK
from streaming.frame import Frame

#: Brings a picture to (height, width).
Fit = Callable[[NDArray[np.uint8], tuple[int, int]], NDArray[np.uint8]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prepared:
    """One frame ready for the model, with the one Settings snapshot it is drawn and painted with.

    ``image`` is the frame at the model's size (uint8 H×W×3), ``planes`` its maps (uint8 K×H×W, in the order of
    ``settings.kinds``), ``colours`` the image made small (uint8 H/4×W/4×3), None where ``init_strength`` is 0.
    ``age_ms``: how much older than the frame its oldest map is, None where each frame has its own. ``change_id`` is
    the id of the newest settings change that the snapshot contains.
    """

    frame: Frame
    image: NDArray[np.uint8]
    planes: NDArray[np.uint8]
    settings: Settings
    colours: NDArray[np.uint8] | None = None
    age_ms: float | None = None
    change_id: int = 0

    @property
    def company(self) -> Hashable:
        """What frames of one batch have in common: the kinds of maps and their size, the LoRA and its scale."""
        return self.settings.kinds, self.planes.shape, self.settings.lora, self.settings.lora_scale


class Preparer:
    """Makes Prepared frames of ``size`` (height, width) of one stream: one at a time, in order, from any thread."""

    def __init__(self, *, size: tuple[int, int], keeper: MapKeeper, fit: Fit = fit) -> None:
        self.size = size
        self._keeper = keeper
        self._fit = fit

    def __call__(self, frame: Frame, settings: Settings, change_id: int = 0) -> Prepared:
        image = self._fit(frame.image, self.size)
        maps = self._keeper(image, settings, frame.captured_ns)
        return Prepared(
            frame=frame,
            image=image,
            planes=maps.planes,
            settings=settings,
            colours=shrink(image) if settings.init_strength > 0 else None,
            age_ms=maps.age_ms,
            change_id=change_id,
        )

    def waiting_room(self, settings: Settings) -> Executor | None:
        """Where to call this for ``settings`` that would wait for a network's first map; None when they wouldn't."""
        return self._keeper.waiting_room(settings)

    def close(self) -> None:
        """Let go of what the maps of this stream needed. May be called twice."""
        self._keeper.close()


def shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colours of uint8 H×W×3: H/4×W/4×3, averaged over areas."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // COLOUR_SHRINK, height // COLOUR_SHRINK), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def cached_by(settings: Settings) -> Hashable:
    """What a painter's caches hang on: settings that differ in other things need no preparation of their own.

    So a walk, whose settings differ in each frame, is prepared once a leg.
    """
    return (
        settings.prompt,
        settings.prompt_b,
        settings.seed,
        settings.seed_b,
        settings.kinds,
        settings.lora,
        settings.lora_scale,
    )


def make_pool() -> ThreadPoolExecutor:
    """Enough threads to keep up with many cameras, few enough to leave the cores to the model."""
    return ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="prepare")
