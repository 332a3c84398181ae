"""From a camera frame to what the model takes: fitted, its maps drawn, its colours kept. Runs in a small pool."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.album import Album
from pipelines.settings import Settings
from realtime.effort import Effort, Size
from realtime.fit import COLOUR_SHRINK, fit, shrink
from realtime.similar import Look
from streaming.frame import Frame

if TYPE_CHECKING:  # it brings torch with it, and the page is served before that
    from realtime.maps import MapKeeper

#: Brings a picture to (height, width).
Fit = Callable[[NDArray[np.uint8], tuple[int, int]], NDArray[np.uint8]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prepared:
    """One frame ready for the model, with the one Settings snapshot it is drawn and painted with.

    ``image`` is the frame at the model's size (uint8 H×W×3), ``planes`` its maps (uint8 K×h×w, in the order of
    ``settings.kinds``, at the size that it is painted at), ``colours`` the image made small (uint8 h/4×w/4×3), None
    where ``init_strength`` is 0. ``age_ms``: how much older than the frame its oldest map is, None where each frame has
    its own. ``change_id`` is the id of the newest settings change that the snapshot contains. ``look``: see
    ``realtime.similar``; None where nobody wants to know.
    """

    frame: Frame
    image: NDArray[np.uint8]
    planes: NDArray[np.uint8]
    settings: Settings
    colours: NDArray[np.uint8] | None = None
    age_ms: float | None = None
    change_id: int = 0
    look: Look | None = None

    @property
    def size(self) -> Size:
        """(height, width) that it is painted at."""
        return self.planes.shape[1], self.planes.shape[2]

    @property
    def company(self) -> Hashable:
        return company(self.settings, self.size)


def company(settings: Settings, size: Size) -> Hashable:
    """What frames of one batch have in common: the kinds of maps and their size, the LoRA and its scale."""
    return settings.kinds, size, settings.lora, settings.lora_scale


class Preparer:
    """Makes Prepared frames of ``size`` (height, width) of one stream: one at a time, in order, from any thread.

    ``album``: for a stream that is painted from text alone, what its prompts are looked up in.
    """

    def __init__(self, *, size: tuple[int, int], keeper: MapKeeper, fit: Fit = fit, album: Album | None = None) -> None:
        self.size = size
        self._keeper = keeper
        self._fit = fit
        self._album = album

    def __call__(self, frame: Frame, settings: Settings, change_id: int = 0) -> Prepared:
        return self.draw(frame, self.fitted(frame), settings, change_id=change_id)

    def fitted(self, frame: Frame) -> NDArray[np.uint8]:
        """The picture at the model's size."""
        return self._fit(frame.image, self.size)

    def draw(
        self,
        frame: Frame,
        image: NDArray[np.uint8],
        settings: Settings,
        *,
        change_id: int = 0,
        effort: Effort | None = None,
    ) -> Prepared:
        """The same for a picture that was fitted already, with no more effort than this."""
        effort = effort or Effort(size=self.size)
        if self._album and (recalled := self._album.recall(settings, effort.size)):
            return Prepared(
                frame=frame,
                image=image,
                planes=recalled.map[None],
                settings=recalled.settings,
                colours=recalled.colours,
                change_id=change_id,
            )
        small = shrink(image, effort.size)
        maps = self._keeper(image, effort.apply(settings), frame.captured_ns, small=small)
        height, width = (side // COLOUR_SHRINK for side in effort.size)
        return Prepared(
            frame=frame,
            image=image,
            planes=maps.planes,
            settings=settings,
            colours=shrink(image, (height, width)) if settings.init_strength > 0 else None,
            age_ms=maps.age_ms,
            change_id=change_id,
        )

    def has_slow_maps(self, settings: Settings) -> bool:
        """Whether a network draws one of the maps that ``settings`` ask for."""
        return self._keeper.has_slow_maps(settings)

    def waiting_room(self, settings: Settings) -> Executor | None:
        """Where to call this for ``settings`` that would wait for a network's first map; None when they wouldn't."""
        return self._keeper.waiting_room(settings)

    def close(self) -> None:
        """Let go of what the maps of this stream needed. May be called twice."""
        self._keeper.close()


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
