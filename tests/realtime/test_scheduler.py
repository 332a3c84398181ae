from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.settings import Settings
from pipelines.walk import walk
from realtime.costs import REMEMBER
from realtime.engine import Engine, Painted
from realtime.prepare import Prepared
from realtime.scheduler import MAX_FAILURES, Scheduler
from tests.realtime.fakes import SIZE, NumberPainter, numbered


class Recorder:
    """A lane that keeps what it gets."""

    def __init__(self, seed: int, **settings: Any) -> None:
        self.name = f"lane-{seed}"
        self.settings = Settings(seed=seed, **settings)
        self.taken_seqs: list[int] = []
        self.painted_seqs: list[int] = []
        self.pictures: list[NDArray[np.uint8]] = []
        self.errors: list[tuple[str, bool]] = []
        self.changed = threading.Condition()

    def frame(self, number: int) -> Prepared:
        frame = numbered(number)
        planes = np.full((len(self.settings.kinds), *SIZE), number, np.uint8)
        return Prepared(frame=frame, image=frame.image, planes=planes, settings=self.settings)

    def taken(self, prepared: Prepared) -> None:
        self.taken_seqs.append(prepared.frame.seq)

    def painted(self, prepared: Prepared, picture: NDArray[np.uint8], model_ms: float) -> None:
        with self.changed:
            self.painted_seqs.append(prepared.frame.seq)
            self.pictures.append(picture)
            self.changed.notify_all()

    def failed(self, error: Exception, *, final: bool) -> None:
        with self.changed:
            self.errors.append((str(error), final))
            self.changed.notify_all()

    def wait(self, met: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(met, 20), f"{self.name} waited in vain"


class Gate:
    """Holds the inference thread inside the model until it is opened."""

    def __init__(self) -> None:
        self.entered, self._open = threading.Event(), threading.Event()

    def __call__(self, settings: object) -> None:
        self.entered.set()
        assert self._open.wait(20)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def start() -> Iterator[Callable[..., Scheduler]]:
    running: list[Scheduler] = []

    def make(painter: NumberPainter, *, max_batch: int = 1) -> Scheduler:
        painter.batches = tuple(range(1, max_batch + 1))
        scheduler = Scheduler(lambda: Engine(painter, max_batch=max_batch))
        scheduler.start()
        scheduler.loaded.result(20)
        for batch in painter.batches * REMEMBER:  # company is free here: chance shall not cut the batches
            scheduler.costs.add(SIZE, batch, 1.0)
        running.append(scheduler)
        return scheduler

    yield make
    for scheduler in running:
        assert scheduler.close()


def test_one_thread_owns_every_model_call(start: Callable[..., Scheduler]) -> None:
    painter = NumberPainter()
    scheduler, lane = start(painter), Recorder(1)
    scheduler.add(lane)
    scheduler.offer(lane, lane.frame(0))
    lane.wait(lambda: lane.painted_seqs == [0])
    assert painter.threads == {"inference"}


def test_a_frame_that_waits_is_displaced_by_a_newer_one(start: Callable[..., Scheduler]) -> None:
    gate = Gate()
    scheduler, lane = start(NumberPainter(spoil=gate)), Recorder(1)
    scheduler.add(lane)
    assert not scheduler.offer(lane, lane.frame(0))
    assert gate.entered.wait(20)
    assert [scheduler.offer(lane, lane.frame(number)) for number in (1, 2, 3)] == [False, True, True]
    gate.open()
    lane.wait(lambda: lane.painted_seqs == [0, 3])
    assert [int(picture[0, 0, 0]) for picture in lane.pictures] == [0, 3]


def test_a_batch_takes_the_newest_frame_of_every_session(start: Callable[..., Scheduler]) -> None:
    gate = Gate()
    painter = NumberPainter(spoil=gate)
    scheduler, lanes = start(painter, max_batch=4), [Recorder(seed) for seed in range(1, 4)]
    for lane in lanes:
        scheduler.add(lane)
    scheduler.offer(lanes[0], lanes[0].frame(0))
    assert gate.entered.wait(20)
    for lane in lanes:
        scheduler.offer(lane, lane.frame(10 + lane.settings.seed))
    gate.open()
    for lane in lanes:
        lane.wait(lambda lane=lane: 10 + lane.settings.seed in lane.painted_seqs)
        assert lane.pictures[-1][0, 0].tolist() == [10 + lane.settings.seed, lane.settings.seed, 100]
    assert painter.forwards[0] == [1]
    assert sorted(painter.forwards[1]) == [1, 2, 3]


@pytest.mark.parametrize("max_batch", [1, 2, 3])
def test_every_session_gets_its_turn_when_there_are_more_than_fit(
    start: Callable[..., Scheduler], max_batch: int
) -> None:
    """All five always have a frame waiting, and no one gets a turn more than anybody else."""
    lanes = [Recorder(seed) for seed in range(1, 6)]
    turns = dict.fromkeys(range(1, 6), 0)

    def refill(settings: object) -> None:
        for lane in lanes:
            scheduler.offer(lane, lane.frame(0))

    painter = NumberPainter(spoil=refill)
    scheduler = start(painter, max_batch=max_batch)
    for lane in lanes:
        scheduler.add(lane)
    refill(None)
    for lane in lanes:
        lane.wait(lambda lane=lane: len(lane.painted_seqs) >= 40)
    for batch in painter.forwards[1:]:  # the first was made before all were there
        for seed in batch:
            turns[seed] += 1
        assert max(turns.values()) - min(turns.values()) <= 2


@pytest.mark.parametrize(
    "other",
    [
        {"control": "none"},
        {"control": "depth"},
        {"extra_controls": {"depth": 0.5}},
        {"lora": "anime"},
        {"lora_scale": 0.5},
    ],
)
def test_sessions_with_other_maps_or_another_lora_take_the_next_turn(
    start: Callable[..., Scheduler], other: dict[str, Any]
) -> None:
    gate = Gate()
    painter = NumberPainter(spoil=gate, controls=("canny", "depth"), loras=("anime",))
    scheduler = start(painter, max_batch=4)
    alike, others = [Recorder(1), Recorder(2)], [Recorder(3, **other), Recorder(4, **other)]
    everybody = [alike[0], others[0], alike[1], others[1]]
    for lane in everybody:
        scheduler.add(lane)
    scheduler.offer(alike[0], alike[0].frame(0))
    assert gate.entered.wait(20)
    for lane in everybody:
        scheduler.offer(lane, lane.frame(1))
    gate.open()
    for lane in everybody:
        lane.wait(lambda lane=lane: 1 in lane.painted_seqs)
    assert [sorted(batch) for batch in painter.forwards] == [[1], [3, 4], [1, 2]]


def test_other_scales_and_detectors_share_a_batch(start: Callable[..., Scheduler]) -> None:
    gate = Gate()
    painter = NumberPainter(spoil=gate)
    scheduler = start(painter, max_batch=4)
    lanes = [Recorder(1), Recorder(2, conditioning_scale=0.3), Recorder(3, canny_low=5, init_strength=0.5)]
    for lane in lanes:
        scheduler.add(lane)
    scheduler.offer(lanes[0], lanes[0].frame(0))
    assert gate.entered.wait(20)
    for lane in lanes:
        scheduler.offer(lane, lane.frame(1))
    gate.open()
    for lane in lanes:
        lane.wait(lambda lane=lane: 1 in lane.painted_seqs)
    assert sorted(painter.forwards[1]) == [1, 2, 3]


def test_a_lane_is_told_when_its_frame_is_taken_before_it_is_painted(start: Callable[..., Scheduler]) -> None:
    gate = Gate()
    scheduler, lane = start(NumberPainter(spoil=gate)), Recorder(1)
    scheduler.add(lane)
    scheduler.offer(lane, lane.frame(0))
    assert gate.entered.wait(20)
    scheduler.offer(lane, lane.frame(1))
    assert (lane.taken_seqs, lane.painted_seqs) == ([0], [])
    gate.open()
    lane.wait(lambda: lane.painted_seqs == [0, 1])
    assert lane.taken_seqs == [0, 1]


def test_a_failed_forward_costs_its_frames_only(start: Callable[..., Scheduler]) -> None:
    failures = iter([True])

    def once(settings: object) -> None:
        if next(failures, False):
            raise RuntimeError("out of order")

    scheduler, lane = start(NumberPainter(spoil=once)), Recorder(1)
    scheduler.add(lane)
    scheduler.offer(lane, lane.frame(0))
    lane.wait(lambda: lane.errors == [("out of order", False)])
    scheduler.offer(lane, lane.frame(1))
    lane.wait(lambda: lane.painted_seqs == [1])


def test_only_the_session_that_always_fails_is_given_up(start: Callable[..., Scheduler]) -> None:
    """They share every batch at first, so the innocent ones fail along until it is found out who it was."""
    lanes = [Recorder(seed) for seed in (1, 2, 3)]

    def spoil(settings: list[Settings]) -> None:
        for lane in lanes:
            scheduler.offer(lane, lane.frame(9))
        if any(each.seed == 2 for each in settings):
            raise RuntimeError("seed 2")

    painter = NumberPainter(spoil=spoil)
    scheduler = start(painter, max_batch=3)
    for lane in lanes:
        scheduler.add(lane)
        scheduler.offer(lane, lane.frame(9))
    lanes[1].wait(lambda: len(lanes[1].errors) == MAX_FAILURES)
    assert [final for _, final in lanes[1].errors] == [False] * (MAX_FAILURES - 1) + [True]
    for lane in (lanes[0], lanes[2]):
        lane.wait(lambda lane=lane: len(lane.painted_seqs) > 20)
        assert len(lane.errors) <= 1
    assert scheduler.offer(lanes[1], lanes[1].frame(9)), "a session given up is unknown"
    assert [1, 3] in [sorted(batch) for batch in painter.forwards[-4:]], "the others share their batches again"


def test_settings_are_prepared_once_before_their_first_frame(start: Callable[..., Scheduler]) -> None:
    painter = NumberPainter()
    scheduler, lane = start(painter), Recorder(1)
    scheduler.add(lane)
    for number, seed in enumerate([1, 1, 2, 2]):
        if lane.settings.seed != seed:
            lane.settings = Settings(seed=seed)
        scheduler.offer(lane, lane.frame(number))
        lane.wait(lambda number=number: lane.painted_seqs[-1:] == [number])
    assert [each.seed for each in painter.prepared] == [1, 2]


def test_a_walk_is_prepared_once_a_leg_not_once_a_frame(start: Callable[..., Scheduler]) -> None:
    painter = NumberPainter()
    scheduler, lane = start(painter), Recorder(1, walk="seeds", walk_seconds=1.0)
    whole = lane.settings
    scheduler.add(lane)
    for number in range(30):
        lane.settings = walk(whole, number / 10)
        scheduler.offer(lane, lane.frame(number))
        lane.wait(lambda number=number: lane.painted_seqs[-1:] == [number])
    assert [(each.seed, each.seed_b) for each in painter.prepared] == [(1, 2), (2, 3), (3, 4)]
    assert len({(each.seed, each.seed_blend) for (each,) in painter.painted}) == 30


def test_settings_that_cannot_be_prepared_fail_their_own_session_only(start: Callable[..., Scheduler]) -> None:
    class Choosy(NumberPainter):
        def prepare(self, settings: Settings) -> None:
            if settings.seed == 1:
                raise RuntimeError("no such words")

    scheduler, lanes = start(Choosy(), max_batch=2), [Recorder(1), Recorder(2)]
    for lane in lanes:
        scheduler.add(lane)
        scheduler.offer(lane, lane.frame(0))
    lanes[0].wait(lambda: lanes[0].errors == [("no such words", False)])
    lanes[1].wait(lambda: lanes[1].painted_seqs == [0])


def test_what_loading_raises_is_kept_for_the_main_thread() -> None:
    def load() -> Engine:
        raise RuntimeError("no weights")

    scheduler = Scheduler(load)
    scheduler.start()
    assert "no weights" in str(scheduler.loaded.exception(20))
    assert scheduler.close()
    assert scheduler.close()


class Device:
    """An engine whose device works beside the host, ``ms`` a batch, on one batch after the other."""

    max_batch, depth, is_warm = 1, 2, True

    def __init__(self, ms: float, *, really_ms: float | None = None) -> None:
        self.really_ms = ms if really_ms is None else really_ms
        self.painter = NumberPainter()
        self.measured = {(SIZE, 1): ms}
        self.happened: list[tuple[str, int]] = []
        self.changed = threading.Condition()
        self._free = 0.0

    def prepare(self, settings: Settings) -> None:
        pass

    def begin(self, planes: Any, settings: Any, colours: Any) -> tuple[int, float]:
        self._free = max(self._free, time.monotonic()) + self.really_ms / 1e3
        number = int(planes[0][0, 0, 0])
        self._note("begin", number)
        return number, self._free

    def is_done(self, slot: tuple[int, float]) -> bool:
        return time.monotonic() >= slot[1]

    def finish(self, slot: tuple[int, float]) -> Painted:
        number, end = slot
        time.sleep(max(0.0, end - time.monotonic()))  # the device's work
        self._note("finish", number)
        return Painted(pictures=[np.zeros((*SIZE, 3), np.uint8)], model_ms=self.really_ms)

    def until(self, *what: tuple[str, int]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: set(what) <= set(self.happened), 20), self.happened

    def _note(self, what: str, number: int) -> None:
        with self.changed:
            self.happened.append((what, number))
            self.changed.notify_all()


def test_the_next_batch_is_begun_before_the_device_is_done_with_the_newest_frame_there_is() -> None:
    device: Any = Device(ms=400)
    scheduler, lane = Scheduler(lambda: device), Recorder(1)
    scheduler.start()
    try:
        scheduler.add(lane)
        scheduler.offer(lane, lane.frame(1))
        device.until(("begin", 1))
        assert not scheduler.offer(lane, lane.frame(2))
        assert scheduler.offer(lane, lane.frame(3)), "the second was not taken yet, so that the third displaces it"
        device.until(("finish", 3))
    finally:
        assert scheduler.close()
    assert device.happened == [("begin", 1), ("begin", 3), ("finish", 1), ("finish", 3)]


def test_a_frame_on_the_device_is_not_kept_waiting_for_another_one() -> None:
    device: Any = Device(ms=50)
    scheduler, lane = Scheduler(lambda: device), Recorder(1)
    scheduler.start()
    try:
        scheduler.add(lane)
        for number in range(1, 4):
            scheduler.offer(lane, lane.frame(number))
            device.until(("finish", number))
    finally:
        assert scheduler.close()
    assert [what for what, _ in device.happened] == ["begin", "finish"] * 3


def test_a_device_that_is_done_sooner_than_reckoned_is_not_kept_idle() -> None:
    device: Any = Device(ms=60_000, really_ms=20)
    scheduler, lane = Scheduler(lambda: device), Recorder(1)
    scheduler.start()
    try:
        scheduler.add(lane)
        scheduler.offer(lane, lane.frame(1))
        device.until(("finish", 1))
    finally:
        assert scheduler.close()


def test_close_during_a_long_forward_gives_up_in_time() -> None:
    gate = Gate()
    scheduler, lane = Scheduler(lambda: Engine(NumberPainter(spoil=gate))), Recorder(1)
    scheduler.start()
    scheduler.loaded.result(20)
    scheduler.add(lane)
    scheduler.offer(lane, lane.frame(0))
    assert gate.entered.wait(20)
    assert not scheduler.close(timeout=0.05)
    gate.open()
    assert scheduler.close(timeout=20)
    assert lane.painted_seqs == [0], "what was in flight still comes back"


def test_an_idle_scheduler_uses_no_processor_time(start: Callable[..., Scheduler]) -> None:
    start(NumberPainter())
    before = time.process_time()
    time.sleep(0.5)  # idleness is the thing measured
    assert time.process_time() - before < 0.2


def test_what_was_left_of_warming_up_is_done_while_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.scheduler.QUIET_SECONDS", 0.05)
    painter = NumberPainter(size=(16, 32), smaller=[(12, 24), SIZE])

    def load() -> Engine:
        engine = Engine(painter)
        engine.warm_up(Settings(seed=5), Settings(seed=6, control="none"), later=True)
        return engine

    scheduler, lane = Scheduler(load), Recorder(1)
    scheduler.add(lane)
    scheduler.start()
    engine = scheduler.loaded.result(20)
    scheduler.offer(lane, lane.frame(0))
    lane.wait(lambda: lane.painted_seqs == [0])
    threading.Event().wait(0.2)  # somebody is there, with nothing to paint just now
    assert not engine.is_warm
    assert len(painter.forwards) == 3
    scheduler.remove(lane)
    deadline = time.monotonic() + 20
    while not engine.is_warm or len(painter.forwards) < 13:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    assert scheduler.costs.forward((12, 24), 1) is not None
    assert scheduler.close()


def test_who_asks_for_a_governor_has_the_smaller_sizes_warmed_at_once() -> None:
    painter = NumberPainter(size=SIZE, smaller=[(4, 8)])

    def load() -> Engine:
        engine = Engine(painter)
        engine.warm_up(Settings(seed=5), later=True)
        return engine

    scheduler, lane = Scheduler(load), Recorder(1, latency_target=100)
    scheduler.add(lane)
    scheduler.start()
    engine = scheduler.loaded.result(20)
    for number in range(3):
        scheduler.offer(lane, lane.frame(number))
        lane.wait(lambda number=number: number in lane.painted_seqs)
    assert engine.is_warm
    assert painter.painted_sizes.count((4, 8)) == 2
    assert scheduler.close()


def test_warming_up_that_fails_later_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.scheduler.QUIET_SECONDS", 0.01)
    failed = threading.Event()

    def spoil(settings: list[Settings]) -> None:
        if settings[0].seed == 6:
            failed.set()
            raise RuntimeError("no room for this one")

    def load() -> Engine:
        engine = Engine(NumberPainter(spoil=spoil))
        engine.warm_up(Settings(seed=5), Settings(seed=6), later=True)
        return engine

    scheduler, lane = Scheduler(load), Recorder(1)
    scheduler.start()
    scheduler.loaded.result(20)
    assert failed.wait(20)
    scheduler.add(lane)
    scheduler.offer(lane, lane.frame(0))
    lane.wait(lambda: lane.painted_seqs == [0])
    assert scheduler.close()
