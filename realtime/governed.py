"""Governed: what one session's governor makes of its pictures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from pipelines.settings import Settings
from realtime.effort import Effort, Size, ladder
from realtime.governor import Governor
from streaming.service import Json


class Governed:
    """``effort`` is asked for each picture that is prepared, ``lets_through`` for each that comes; any thread.

    ``sizes``: see ``realtime.engine.Painter.sizes``. ``has_slow_maps``: whether settings ask for a network's map.
    """

    def __init__(
        self,
        *,
        sizes: Sequence[Size],
        camera: bool,
        has_slow_maps: Callable[[Settings], bool],
        governor: Governor | None = None,
    ) -> None:
        self._governor = governor or Governor()
        self._has_slow_maps = has_slow_maps
        self._ladders = {slow: ladder(sizes, slow_maps=slow, camera=camera) for slow in (False, True)}
        self._steps = self._ladders[False]
        self._counter = itertools.count()

    def effort(self, settings: Settings) -> Effort:
        """What a picture with these settings may cost now."""
        if settings.latency_target or self._governor.target:
            self._steps = self._ladders[self._has_slow_maps(settings)]
            self._governor.aim(settings.latency_target, len(self._steps) - 1)
        return self.now

    @property
    def now(self) -> Effort:
        steps = self._steps
        return steps[min(self._governor.level, len(steps) - 1)]

    @property
    def level(self) -> int:
        """0 while everything is painted in full."""
        return self._governor.level

    def lets_through(self) -> bool:
        """Whether the picture that has just come is one of those to be painted."""
        return next(self._counter) % self.now.every == 0

    def delivered(self, latency_ms: float) -> None:
        """A painted picture went out, so long after it was taken."""
        self._governor.delivered(latency_ms)

    def row(self) -> Json | None:
        """``{"level", "of", "doing"}`` for the status; None while the governor is off."""
        if not self._governor.target:
            return None
        return {"level": self.level, "of": len(self._steps) - 1, "doing": self.now.doing}
