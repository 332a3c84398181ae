from __future__ import annotations

import random

import pytest

from realtime.costs import REMEMBER, CostModel
from realtime.rhythm import Rhythm

SIZE, SMALL = (512, 512), (256, 256)


def test_the_cost_of_a_batch_is_that_of_the_size_it_is_built_for() -> None:
    costs = CostModel((1, 2, 4, 8), {(SIZE, 1): 5, (SIZE, 2): 6, (SIZE, 4): 9, (SIZE, 8): 20, (SMALL, 1): 2})
    assert [costs.forward(SIZE, count) for count in range(1, 10)] == [5, 6, 9, 9, 20, 20, 20, 20, None]
    assert costs.forward(SMALL, 1) == 2
    assert costs.forward((64, 64), 1) is None


def test_what_was_never_measured_is_reckoned_with_caution() -> None:
    costs = CostModel((1, 2, 4), {(SIZE, 2): 6})
    assert costs.forward(SIZE, 1) == 6, "no dearer than the larger one"
    assert costs.forward(SIZE, 4) == 12, "no cheaper than two of the smaller ones"


def test_the_estimate_follows_and_isnt_taken_in_by_one_that_was_held_up() -> None:
    costs = CostModel((1, 4), {(SIZE, 1): 10})
    for _ in range(REMEMBER):
        costs.add(SIZE, 1, 20)
        costs.add(SIZE, 3, 50)
    costs.add(SIZE, 1, 2000)
    assert (costs.forward(SIZE, 1), costs.forward(SIZE, 4)) == (20, 50)
    for _ in range(REMEMBER // 2 + 1):
        costs.add(SIZE, 1, 12)
    assert costs.forward(SIZE, 1) == 12


def test_more_pictures_than_any_batch_takes_are_several_forwards() -> None:
    costs = CostModel((1, 2), {(SIZE, 1): 5, (SIZE, 2): 8})
    assert [costs.pictures(SIZE, count) for count in range(1, 7)] == [5, 8, 13, 16, 21, 24]
    assert costs.pictures((64, 64), 3) is None
    costs.add(SIZE, 3, 1.0)  # there is no such batch
    assert costs.pictures(SIZE, 3) == 13


def test_the_next_batch_is_cut_where_that_is_cheaper() -> None:
    """Five pictures in the batch for eight cost what eight do."""
    near_linear = CostModel((1, 2, 4, 8), {(SIZE, b): ms for b, ms in ((1, 3), (2, 5), (4, 9), (8, 17))})
    assert [near_linear.first_of(SIZE, count) for count in range(1, 10)] == [1, 2, 2, 4, 4, 4, 7, 8, 8]
    flat = CostModel((1, 2, 4, 8), {(SIZE, batch): 10 for batch in (1, 2, 4, 8)})
    assert [flat.first_of(SIZE, count) for count in range(1, 10)] == [1, 2, 3, 4, 5, 6, 7, 8, 8]
    unknown = CostModel((1, 2))
    assert [unknown.first_of(SIZE, count) for count in (1, 2, 5)] == [1, 2, 2]


@pytest.mark.parametrize("seed", range(20))
def test_cutting_as_it_says_takes_just_what_it_says(seed: int) -> None:
    luck = random.Random(seed)
    batches = sorted(luck.sample(range(1, 17), 4))
    costs = CostModel(batches, {(SIZE, batch): luck.uniform(1, 50) for batch in batches})
    for count in range(1, 40):
        left, ms = count, 0.0
        while left:
            first = costs.first_of(SIZE, left)
            assert 0 < first <= min(left, batches[-1])
            ms += min(cost for batch in batches if batch >= first and (cost := costs.forward(SIZE, batch)))
            left -= first
        assert ms == pytest.approx(costs.pictures(SIZE, count), abs=1e-3)


def test_a_rhythm_is_known_after_a_few_times_and_forgotten_when_it_stops() -> None:
    rhythm = Rhythm()
    assert not rhythm.is_due(0.0, 100.0)
    for beat in range(3):
        rhythm.tick(beat * 0.1)
        assert not rhythm.is_due(beat * 0.1, 100.0)
    rhythm.tick(0.3)
    assert not rhythm.is_due(0.31, 0.39)
    assert rhythm.is_due(0.31, 0.41)
    assert rhythm.is_due(0.44, 0.45), "a little late"
    assert not rhythm.is_due(0.46, 0.47), "not coming"


def test_one_late_beat_doesnt_change_a_rhythm() -> None:
    rhythm = Rhythm()
    for now in (0.0, 0.1, 0.2, 0.5, 0.6, 0.7):
        rhythm.tick(now)
    assert rhythm.is_due(0.71, 0.81)
    assert not rhythm.is_due(0.71, 0.79)
