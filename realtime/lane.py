"""Lane: a session as the scheduler sees it, and the place that the scheduler keeps for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.prepare import Prepared
from realtime.rhythm import Rhythm


class Lane(Protocol):
    """A session as the scheduler sees it. Called on the inference thread; must return soon."""

    @property
    def name(self) -> str: ...

    def taken(self, prepared: Prepared) -> None:
        """Its frame waits no more: the model has it, and there is room for the next one."""

    def painted(self, prepared: Prepared, picture: NDArray[np.uint8], model_ms: float) -> None:
        """One of its frames came back as uint8 H×W×3."""

    def failed(self, error: Exception, *, final: bool) -> None:
        """One of its frames was lost to an error; ``final`` when the scheduler has given the session up."""


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class Place:
    """What the scheduler keeps of a lane: its newest frame, and how it has fared.

    ``company``: of its last frame, whether that waits or not. ``failures``: in a row. ``ready_for``: the settings that
    the painter's caches were filled for.
    """

    lane: Lane
    waiting: Prepared | None = None
    failures: int = 0
    ready_for: object = None
    company: Hashable = None
    rhythm: Rhythm = dataclasses.field(default_factory=Rhythm)
