"""Admission: whether the device has the time for one session more, in milliseconds that were measured."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

from realtime.costs import CostModel, Size
from streaming.errors import NoFreePlace

#: How much of each second the model's forwards may take. The rest is for what their time doesn't show: copies, and
#: pictures that come just too late for a batch.
SHARE = 0.95
#: Seconds to say where nobody knows when a place will be free.
SOME_TIME = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """What one session asks of the device.

    ``company``: who shares its batches (``realtime.prepare.company``). ``fps``: the pictures a second that it wants
    painted, None while nobody knows. ``known_in``: seconds until that, or something else about it, is known better.
    """

    company: Hashable
    fps: float | None = None
    known_in: float | None = None


class Admission:
    """``fps``: the frame rate that each session is promised. No session counts for more than that."""

    def __init__(self, costs: CostModel, *, size: Size, fps: float) -> None:
        self.costs = costs
        self.fps = fps
        self._size = size

    def check(self, live: Sequence[Demand], newcomer: Demand) -> None:
        """Raises NoFreePlace, with a sentence that says why, when the model couldn't keep up with one session more.

        Nobody is refused while there is no session yet.
        """
        if not live or self.busy([*live, newcomer]) <= SHARE:
            return
        seconds = min((each.known_in for each in live if each.known_in), default=SOME_TIME)
        wait = max(1, round(min(seconds, SOME_TIME)))
        raise NoFreePlace(f"{self._why(live)}; try again in {wait} s.", retry_after=wait)

    def busy(self, demands: Iterable[Demand]) -> float:
        """The share of each second that the model takes for all of them, at full size, batched as well as can be.

        In a company with the rates f₁ ≥ f₂ ≥ ..., f_k − f_{k+1} batches a second hold k pictures.
        """
        companies: dict[Hashable, list[float]] = defaultdict(list)
        for each in demands:
            companies[each.company].append(self.fps if each.fps is None else min(self.fps, each.fps))
        return sum(self._busy_with(sorted(rates, reverse=True)) for rates in companies.values())

    def places(self) -> int:
        """How many sessions of one company the model can keep the promise to; at least 1, at most 1000."""
        places = 1
        while places < 1000 and self._busy_with([self.fps] * (places + 1)) <= SHARE:
            places += 1
        return places

    def _busy_with(self, rates: Sequence[float]) -> float:
        less = [*rates[1:], 0.0]
        return sum(
            (rate - next_rate) * (self.costs.pictures(self._size, count) or 0.0) / 1e3
            for count, (rate, next_rate) in enumerate(zip(rates, less, strict=True), start=1)
            if rate > next_rate
        )

    def _why(self, live: Sequence[Demand]) -> str:
        one, places = self.costs.pictures(self._size, 1) or 0.0, self.places()
        together = self.costs.pictures(self._size, places) or 0.0
        apart = places == 1 or together >= 0.99 * places * one
        time = f"{one:.0f} ms a picture" if apart else f"{one:.0f} ms for a picture and {together:.0f} ms for {places}"
        enough = f"enough for {places} session{'s' * (places > 1)} at {self.fps:g} frames/s"
        if self._busy_with([self.fps]) > SHARE:
            enough = f"not enough for a single session at {self.fps:g} frames/s"
        busy = self.busy(live)
        return f"The model takes {time}, which is {enough}; the {len(live)} here take {busy:.0%} of its time"
