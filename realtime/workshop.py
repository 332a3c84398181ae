"""Workshop: what all sessions of a server share."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.album import Album
from pipelines.settings import Settings
from pipelines.steady import Steadier, Steady
from realtime.easel import Patience
from realtime.fit import Sheet, fit
from realtime.governed import Governed
from realtime.metrics import Metrics
from realtime.modes import Mode
from realtime.prepare import Preparer, company
from realtime.scheduler import Scheduler

if TYPE_CHECKING:
    from realtime.maps import MapDesk

#: ``streaming.stamp.copy``: takes the stamp of the first picture over into the second.
CopyStamp = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """``sizes``: see ``realtime.engine.Painter``. ``controls`` and ``loras``: what settings may ask for."""

    loop: asyncio.AbstractEventLoop
    scheduler: Scheduler
    desk: MapDesk
    sizes: Sequence[tuple[int, int]]
    pool: Executor
    metrics: Metrics
    controls: Collection[str]
    loras: Collection[str] = ()
    album: Album | None = None
    copy_stamp: CopyStamp | None = None
    patience: Patience = dataclasses.field(default_factory=Patience)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the model's pictures."""
        return self.sizes[0]

    def governed(self, mode: Mode, preparer: Preparer) -> Governed:
        """For one more stream."""
        return Governed(sizes=self.sizes, camera=mode == "camera", has_slow_maps=preparer.has_slow_maps)

    def preparer(self, mode: Mode) -> Preparer:
        """For one more stream: a camera's pictures are cropped to the model's shape, a drawing is kept whole."""
        return Preparer(
            size=self.size,
            keeper=self.desk.keeper(),
            fit=fit if mode == "camera" else Sheet(),
            album=self.album if mode == "imagine" else None,
        )

    def company(self, mode: Mode, settings: Settings) -> Hashable:
        """Whom the pictures of a stream are painted together with, in full size; what they cost hangs on it."""
        looked_up = self.album if mode == "imagine" else None
        return company(looked_up.held(settings) if looked_up else settings, self.size)

    def steady(self, mode: Mode) -> Steady | None:
        """For one more stream; only where a camera is followed."""
        return Steadier() if mode == "camera" else None
