"""The short wait for company, and fairness, on a device whose batches cost what the test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from realtime.costs import REMEMBER, CostModel
from realtime.engine import Engine
from realtime.scheduler import Scheduler
from tests.realtime.fakes import SIZE, NumberPainter
from tests.realtime.test_scheduler import Gate, Recorder

Start = Callable[[NumberPainter], Scheduler]
#: ms by batch size: a picture more costs little. The wait is a fifth of the first: half a second.
FLAT = {1: 2500.0, 2: 2600.0, 3: 2700.0, 4: 2800.0}
#: Nothing is won by company.
LINEAR = {1: 2500.0, 2: 5000.0, 3: 7500.0, 4: 10_000.0}


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Scheduler] = []

    def make(painter: NumberPainter) -> Scheduler:
        scheduler = Scheduler(lambda: Engine(painter, max_batch=max(painter.batches)))
        scheduler.start()
        scheduler.loaded.result(20)
        running.append(scheduler)
        return scheduler

    yield make
    for scheduler in running:
        assert scheduler.close()


def told(scheduler: Scheduler, costs: Mapping[int, float]) -> None:
    """What the scheduler believes that forwards take, whatever this test's own take."""
    model = CostModel(sorted(costs))
    for _ in range(REMEMBER):
        for batch, ms in costs.items():
            model.add(SIZE, batch, ms)
    scheduler.costs = model


def practise(scheduler: Scheduler, lanes: list[Recorder], *, beat: float = 0.05) -> None:
    """Each lane brings some frames at a steady beat, painted one by one: now the scheduler knows their rhythm."""
    scheduler.costs = CostModel((1,))
    pause = threading.Event()
    for number in range(5):
        for lane in lanes:
            scheduler.offer(lane, lane.frame(number))
        for lane in lanes:
            lane.wait(lambda lane=lane, number=number: number in lane.painted_seqs)
        pause.wait(beat)


def together(start: Start, costs: Mapping[int, float], *, late: float, **other: Any) -> list[list[int]]:
    """Two lanes of the same beat; the second's frame comes ``late`` seconds after the first's. The forwards."""
    painter = NumberPainter(batches=tuple(costs), controls=("canny", "depth"))
    scheduler, lanes = start(painter), [Recorder(1), Recorder(2, **other)]
    for lane in lanes:
        scheduler.add(lane)
    practise(scheduler, lanes)
    told(scheduler, costs)
    before = len(painter.forwards)
    scheduler.offer(lanes[0], lanes[0].frame(10))
    threading.Event().wait(late)  # so much later comes the other one
    scheduler.offer(lanes[1], lanes[1].frame(10))
    for lane in lanes:
        lane.wait(lambda lane=lane: 10 in lane.painted_seqs)
    return [sorted(seeds) for seeds in painter.forwards[before:]]


def test_a_frame_waits_a_moment_for_one_that_is_due(start: Start) -> None:
    assert together(start, FLAT, late=0.02) == [[1, 2]]


def test_nobody_waits_where_company_makes_nothing_cheaper(start: Start) -> None:
    assert together(start, LINEAR, late=0.02) == [[1], [2]]


def test_nobody_waits_on_a_device_of_single_pictures(start: Start) -> None:
    assert together(start, {1: 2500.0}, late=0.02) == [[1], [2]]


def test_nobody_waits_for_those_who_can_t_share_the_batch(start: Start) -> None:
    assert together(start, FLAT, late=0.02, control="depth") == [[1], [2]]


def test_the_wait_is_a_fraction_of_a_picture_s_time(start: Start) -> None:
    """A picture of 50 ms is worth waiting 10 ms for; the other comes later than that, and is not waited for."""
    brief = {batch: ms / 50 for batch, ms in FLAT.items()}
    assert together(start, brief, late=0.3) == [[1], [2]]


def test_it_ends_when_the_last_one_that_was_due_has_come(start: Start) -> None:
    """Three of four bring their frames at once: nothing is left to wait for, though a fourth would fit."""
    painter = NumberPainter(batches=tuple(FLAT))
    scheduler, lanes = start(painter), [Recorder(seed) for seed in (1, 2, 3)]
    for lane in lanes:
        scheduler.add(lane)
    practise(scheduler, lanes)
    told(scheduler, {batch: 20 * ms for batch, ms in FLAT.items()})  # would allow ten seconds
    before, began = len(painter.forwards), time.monotonic()
    for lane in lanes:
        scheduler.offer(lane, lane.frame(10))
    for lane in lanes:
        lane.wait(lambda lane=lane: 10 in lane.painted_seqs)
    assert [sorted(seeds) for seeds in painter.forwards[before:]] == [[1, 2, 3]]
    assert time.monotonic() - began < 5


def test_a_session_that_has_gone_quiet_is_not_waited_for(start: Start) -> None:
    painter = NumberPainter(batches=tuple(FLAT))
    scheduler, lanes = start(painter), [Recorder(1), Recorder(2)]
    for lane in lanes:
        scheduler.add(lane)
    practise(scheduler, lanes)
    told(scheduler, {batch: 20 * ms for batch, ms in FLAT.items()})
    threading.Event().wait(0.3)  # six beats without a frame of either
    began = time.monotonic()
    scheduler.offer(lanes[0], lanes[0].frame(10))
    lanes[0].wait(lambda: 10 in lanes[0].painted_seqs)
    assert time.monotonic() - began < 5


def test_who_is_alone_never_waits(start: Start) -> None:
    painter = NumberPainter(batches=tuple(FLAT))
    scheduler, lane = start(painter), Recorder(1)
    scheduler.add(lane)
    practise(scheduler, [lane])
    told(scheduler, {batch: 1000 * ms for batch, ms in FLAT.items()})
    began = time.monotonic()
    for number in range(10, 40):
        scheduler.offer(lane, lane.frame(number))
        lane.wait(lambda number=number: number in lane.painted_seqs)
    assert time.monotonic() - began < 5
    assert painter.forwards[-30:] == [[1]] * 30


def test_frames_of_another_company_are_never_kept_waiting(start: Start) -> None:
    """The device has work: it does that instead of waiting for more of the first."""
    painter = NumberPainter(batches=tuple(FLAT), controls=("canny", "depth"))
    scheduler, canny, depth = start(painter), [Recorder(1), Recorder(2)], Recorder(3, control="depth")
    for lane in (*canny, depth):
        scheduler.add(lane)
    practise(scheduler, [*canny, depth])
    told(scheduler, {batch: 20 * ms for batch, ms in FLAT.items()})
    began = time.monotonic()
    scheduler.offer(canny[0], canny[0].frame(10))
    scheduler.offer(depth, depth.frame(10))
    for lane in (canny[0], depth):
        lane.wait(lambda lane=lane: 10 in lane.painted_seqs)
    assert time.monotonic() - began < 5


def test_the_scheduler_stops_while_it_waits_for_company(start: Start) -> None:
    painter = NumberPainter(batches=tuple(FLAT))
    scheduler, lanes = start(painter), [Recorder(1), Recorder(2)]
    for lane in lanes:
        scheduler.add(lane)
    practise(scheduler, lanes, beat=3.0 / 5)
    told(scheduler, {batch: 1000 * ms for batch, ms in FLAT.items()})
    scheduler.offer(lanes[0], lanes[0].frame(10))
    assert scheduler.close(timeout=5)


def test_five_that_wait_go_as_four_and_one_where_eight_are_dear(start: Start) -> None:
    gate = Gate()
    painter = NumberPainter(batches=(1, 2, 4, 8), spoil=gate)
    scheduler, lanes = start(painter), [Recorder(seed) for seed in range(1, 6)]
    told(scheduler, {1: 3.0, 2: 5.0, 4: 9.0, 8: 17.0})
    for lane in lanes:
        scheduler.add(lane)
    scheduler.offer(lanes[0], lanes[0].frame(0))
    assert gate.entered.wait(20)
    for lane in lanes:
        scheduler.offer(lane, lane.frame(1))
    gate.open()
    for lane in lanes:
        lane.wait(lambda lane=lane: 1 in lane.painted_seqs)
    assert [len(seeds) for seeds in painter.forwards] == [1, 4, 1]
    assert painter.forwards[2] == [1], "who was served last comes last"


def test_nobody_starves_whatever_company_and_rate(start: Start) -> None:
    """Six who always have a frame and share their batches, beside two companies of one that seldom bring any."""
    many = [Recorder(seed) for seed in range(1, 7)]
    few = [Recorder(7, control="depth"), Recorder(8, control="none")]
    turns: list[list[int]] = []

    def refill(settings: Any) -> None:
        turns.append(sorted(each.seed for each in settings))
        for lane in many:
            scheduler.offer(lane, lane.frame(0))
        if len(turns) % 7 == 0:
            for lane in few:
                scheduler.offer(lane, lane.frame(len(turns)))

    painter = NumberPainter(batches=(1, 2, 4), controls=("canny", "depth"), spoil=refill)
    scheduler = start(painter)
    for lane in (*many, *few):
        scheduler.add(lane)
    refill([])
    for lane in few:
        lane.wait(lambda lane=lane: len(lane.painted_seqs) >= 20)
    for lane in few:
        asked = lane.painted_seqs[:20]
        painted_at = [index for index, seeds in enumerate(turns) if seeds == [lane.settings.seed]][:20]
        assert all(at - when <= 4 for when, at in zip(asked, painted_at, strict=True)), "within a few forwards"
    counts = [sum(lane.settings.seed in seeds for seeds in turns) for lane in many]
    assert max(counts) - min(counts) <= 2
