"""Company: which frames make the next batch, and whether it is worth a moment's wait for one more."""

from __future__ import annotations

import time
from collections.abc import Iterable

from realtime.costs import CostModel
from realtime.lane import Place
from realtime.prepare import Prepared

Batch = list[tuple[Place, Prepared]]


def choose(places: Iterable[Place], most: int) -> Batch:
    """Of places in the order of their turn: the first frame that waits, and those that may be painted with it.

    A batch has one set of maps and one LoRA. Who failed last time goes alone, so that nobody fails with them.
    """
    batch: Batch = []
    for place in places:
        if place.waiting is None:
            continue
        if batch and (place.failures or place.waiting.company != batch[0][1].company):
            continue
        batch.append((place, place.waiting))
        if len(batch) == most or batch[0][0].failures:
            break
    return batch


def is_worth_waiting(places: Iterable[Place], batch: Batch, costs: CostModel, most: int, until: float) -> bool:
    """Whether a lane of the batch's company is likely to bring a frame by ``until``, for less than one of its own.

    Never while frames of another company could be painted meanwhile. ``until``: ``time.monotonic()``.
    """
    first, count = batch[0], len(batch)
    if count == most or first[0].failures or sum(place.waiting is not None for place in places) > count:
        return False
    size, now = first[1].size, time.monotonic()
    alone, together, one_more = (costs.pictures(size, pictures) for pictures in (1, count, count + 1))
    if alone is None or together is None or one_more is None or one_more >= together + alone:
        return False
    return any(
        place.waiting is None and place.company == first[1].company and place.rhythm.is_due(now, until)
        for place in places
    )
