from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.frame_graph import Form
from pipelines.settings import Kind, Settings
from realtime.engine import Engine
from realtime.streams import NullStreams
from realtime.warm_up import WarmUp
from tests.realtime.fakes import SIZE, NumberPainter


class LateEvent:
    """Like CUDA's: a wait is for the newest record that had been asked for when the wait was."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.at = 0.0

    def arm(self) -> threading.Event:
        self.gate = threading.Event()
        return self.gate

    def record(self) -> None:
        self.at = time.perf_counter()

    def query(self) -> bool:
        return self.gate.is_set()

    def synchronize(self) -> None:
        assert self.gate.wait(20), "the host waits for something that never comes"

    def elapsed_time(self, end_event: LateEvent) -> float:
        return (end_event.at - self.at) * 1e3


class LateStream:
    """A device queue on a thread of its own that dawdles at random before each piece of work."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], object], *, done: LateEvent, after: LateEvent | None = None) -> None:
        before, gate, delay = after.gate if after else None, done.arm(), self._rng.random() * 0.003

        def run() -> None:
            if before:
                before.wait(20)
            time.sleep(delay)  # the device's work
            work()
            done.record()
            gate.set()

        self._work.put(run)

    def close(self) -> None:
        self._work.put(None)
        self._thread.join(20)

    def _run(self) -> None:
        while (run := self._work.get()) is not None:
            run()


class LateStreams:
    depth = 2

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.upload, self.compute, self.download = LateStream(rng), LateStream(rng), LateStream(rng)

    def event(self) -> LateEvent:
        return LateEvent()


@pytest.fixture(params=[1, 2, 3])
def late(request: pytest.FixtureRequest) -> Iterator[LateStreams]:
    streams = LateStreams(request.param)
    yield streams
    for stream in (streams.upload, streams.compute, streams.download):
        stream.close()


class CountedEvent:
    """Its time is what the test says."""

    def __init__(self, streams: CountedStreams) -> None:
        self._streams = streams
        self.at = 0.0

    def record(self) -> None:
        self.at = self._streams.now

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end_event: CountedEvent) -> float:
        return end_event.at - self.at


class CountedStreams(NullStreams):
    """A device whose clock, in ms, the test moves."""

    now = 0.0

    def event(self) -> Any:
        return CountedEvent(self)


def _map(number: int) -> np.ndarray:
    return np.full((1, *SIZE), number % 256, np.uint8)


def _check(pictures: list[np.ndarray], numbers: list[int]) -> None:
    assert len(pictures) == len(numbers)
    for picture, number in zip(pictures, numbers, strict=True):
        assert np.unique(picture[..., 0]).tolist() == [number % 256], "torn or stale"
        assert np.unique(picture[..., 1]).tolist() == [(number * 7) % 256], "another picture's settings"


def test_no_picture_is_torn_or_stale_whatever_the_device_s_pace(late: LateStreams) -> None:
    engine = Engine(NumberPainter(), max_batch=3, streams=late)
    rng = random.Random(0)
    kept: list[tuple[list[np.ndarray], list[int]]] = []
    waiting = None
    number = 0
    for _ in range(150):
        numbers = list(range(number, number := number + rng.randint(1, 3)))
        maps = [_map(each) for each in numbers]
        slot = engine.begin(maps, [Settings(seed=each * 7) for each in numbers])
        for each in maps:
            each[:] = 255  # the caller's arrays are its own again as soon as begin returns
        if waiting:
            kept.append((engine.finish(waiting[0]).pictures, waiting[1]))
        waiting = (slot, numbers)
    assert waiting
    kept.append((engine.finish(waiting[0]).pictures, waiting[1]))
    for pictures, numbers in kept:  # at the very end: pictures given out stay what they were
        _check(pictures, numbers)


def test_begin_does_not_wait_for_the_device(late: LateStreams) -> None:
    gate = threading.Event()
    engine = Engine(NumberPainter(spoil=lambda _: gate.wait(20) and None), streams=late)
    first = engine.begin([_map(1)], [Settings(seed=7)])
    second = engine.begin([_map(2)], [Settings(seed=14)])
    assert not engine.is_done(first)
    gate.set()
    _check(engine.finish(first).pictures, [1])
    assert engine.is_done(first)
    _check(engine.finish(second).pictures, [2])


def test_the_null_streams_give_the_same() -> None:
    engine = Engine(NumberPainter(), max_batch=2, streams=NullStreams())
    for number in range(20):
        slot = engine.begin(
            [_map(number), _map(number + 1)], [Settings(seed=number * 7), Settings(seed=number * 7 + 7)]
        )
        _check(engine.finish(slot).pictures, [number, number + 1])


def test_the_model_s_time_is_measured() -> None:
    engine = Engine(NumberPainter(seconds=0.02))
    model_ms = engine.finish(engine.begin([_map(1)], [Settings()])).model_ms
    assert 20 <= model_ms < 2000


def test_a_third_batch_is_refused_while_both_slots_are_in_flight() -> None:
    engine = Engine(NumberPainter())
    slots = [engine.begin([_map(1)], [Settings()]) for _ in range(2)]
    with pytest.raises(RuntimeError, match="finish the older"):
        engine.begin([_map(1)], [Settings()])
    engine.finish(slots[0])
    assert engine.begin([_map(1)], [Settings()]) is slots[0]


@pytest.mark.parametrize(("maps", "settings"), [(0, 0), (3, 3), (2, 1)])
def test_a_batch_of_a_wrong_length_is_refused(maps: int, settings: int) -> None:
    engine = Engine(NumberPainter(), max_batch=2)
    with pytest.raises(ValueError, match="batch of 1 to 2"):
        engine.begin([_map(1)] * maps, [Settings()] * settings)


def test_a_model_that_raises_leaves_both_slots_usable() -> None:
    def spoil(settings: object) -> None:
        if broken:
            raise RuntimeError("out of order")

    engine = Engine(NumberPainter(spoil=spoil))
    broken = True
    for _ in range(3):
        with pytest.raises(RuntimeError, match="out of order"):
            engine.begin([_map(1)], [Settings()])
    broken = False
    for number in (2, 3, 4):
        _check(engine.finish(engine.begin([_map(number)], [Settings(seed=number * 7)])).pictures, [number])


def test_warm_up_paints_every_batch_size_of_each_of_the_settings_at_each_size() -> None:
    """Twice: the first time is slow, the second is measured."""
    painter = NumberPainter(batches=(1, 2, 4, 8), size=(16, 32), smaller=[(8, 16)])
    engine = Engine(painter, max_batch=4)
    told: list[WarmUp] = []
    engine.warm_up(Settings(seed=5), Settings(seed=6, control="none"), tell=told.append)
    assert painter.forwards == [[seed] * batch for seed in (5, 6) for _ in range(2) for batch in (1, 1, 2, 2, 4, 4)]
    assert painter.painted_sizes == ([(16, 32)] * 6 + [(8, 16)] * 6) * 2
    assert {each.seed for each in painter.prepared} == {5, 6}
    assert [(step.step, step.of) for step in told] == [(step, 12) for step in range(1, 13)]
    assert str(told[4]) == "Warming up: batch 2 of 4, 16×8 (step 5 of 12)."
    assert engine.is_warm


def test_what_forwards_take_is_measured_while_warming_up() -> None:
    class Dear(NumberPainter):
        """A forward takes so many ms: for the first time more, and text alone less."""

        seen = 0

        def paint_uint8(self, maps: torch.Tensor, settings: Sequence[Settings], *rest: Any, **form: Any) -> Any:
            self.seen += 1
            first = 50 * (self.seen % 2)
            clock.now += first + len(settings) * (10 if settings[0].kinds else 5)
            return super().paint_uint8(maps, settings, *rest, **form)

    clock = CountedStreams()
    engine = Engine(Dear(batches=(1, 2)), max_batch=2, streams=clock)
    engine.warm_up(Settings(), Settings(control="none"))
    assert engine.measured == {(SIZE, 1): 10, (SIZE, 2): 20}


def test_all_but_what_the_first_session_needs_may_be_warmed_later() -> None:
    painter = NumberPainter(size=(16, 32), smaller=[(12, 24), (8, 16)])
    engine = Engine(painter)
    engine.warm_up(Settings(seed=5), Settings(seed=6, control="none"), later=True)
    assert list(zip(painter.forwards, painter.painted_sizes, strict=True)) == [([5], (16, 32))] * 2
    steps = 0
    while not engine.is_warm:
        engine.warm_up_more()
        steps += 1
    engine.warm_up_more()
    assert steps == 5
    assert len(painter.forwards) == 2 * 6
    both = {(seeds[0], size) for seeds, size in zip(painter.forwards, painter.painted_sizes, strict=True)}
    assert both == {(seed, size) for seed in (5, 6) for size in painter.sizes}
    assert set(engine.measured) == {(size, 1) for size in painter.sizes}


class SeenPainter(NumberPainter):
    """Keeps what it was shown."""

    def __init__(self, controls: Sequence[Kind]) -> None:
        super().__init__(controls=controls)
        self.maps: list[np.ndarray] = []

    def paint_uint8(
        self,
        maps: torch.Tensor,
        settings: Sequence[Settings],
        colours: torch.Tensor | None = None,
        *,
        form: Form = "rgb",
    ) -> torch.Tensor:
        assert maps.is_contiguous()
        self.maps.append(maps.numpy().copy())
        return super().paint_uint8(maps, settings, colours, form=form)


class PlanarPainter(NumberPainter):
    """Gives planes of one value each: Y is the first map's value, U the seed."""

    forms = ("rgb", "yuv")

    def paint_uint8(
        self,
        maps: torch.Tensor,
        settings: Sequence[Settings],
        colours: torch.Tensor | None = None,
        *,
        form: Form = "rgb",
    ) -> torch.Tensor:
        pictures = super().paint_uint8(maps, settings, colours, form="rgb")
        if form == "rgb":
            return pictures
        count, height, width, _ = pictures.shape
        halves = pictures[:, ::2, ::2, 1:].permute(0, 3, 1, 2).reshape(count, height // 2, width)
        return torch.cat([pictures[..., 0], halves], 1)


def test_planes_go_the_same_way(late: LateStreams) -> None:
    engine = Engine(PlanarPainter(), max_batch=2, form="yuv", streams=late)
    kept = []
    for number in range(20):
        slot = engine.begin([_map(number), _map(number + 1)], [Settings(seed=number), Settings(seed=number + 1)])
        kept.append((number, engine.finish(slot).pictures))
    height, width = SIZE
    for number, pictures in kept:
        for picture, each in zip(pictures, (number, number + 1), strict=True):
            assert picture.shape == (height * 3 // 2, width)
            assert np.unique(picture[:height]).tolist() == [each]
            assert np.unique(picture[height : height + height // 4]).tolist() == [each]


def test_maps_of_the_smaller_sizes_are_taken_in_any_order(late: LateStreams) -> None:
    """Whatever lay in the buffers before: each batch is shown its own maps, and gives pictures of the full size."""
    size, smaller = (16, 32), ((12, 24), (8, 16))
    painter = NumberPainter(size=size, smaller=smaller)
    engine = Engine(painter, max_batch=3, streams=late)
    rng = random.Random(1)
    for number in range(40):
        height, width = rng.choice((size, *smaller))
        values = [number, number + 1, number + 2][: rng.randint(1, 3)]
        maps = [np.full((1, height, width), each, np.uint8) for each in values]
        painted = engine.finish(engine.begin(maps, [Settings(seed=each * 7) for each in values]))
        assert {picture.shape for picture in painted.pictures} == {(*size, 3)}
        _check(painted.pictures, values)
    assert set(painter.painted_sizes) == {size, *smaller}


@pytest.mark.parametrize("streams", ["late", "null"])
def test_batches_of_any_number_of_maps_use_the_same_buffers(streams: str, late: LateStreams) -> None:
    """Three, none, one, two: each batch is shown its own maps, whatever lay there before."""
    painter = SeenPainter(controls=("canny", "sketch", "depth"))
    engine = Engine(painter, max_batch=2, streams=late if streams == "late" else NullStreams())
    rng = np.random.default_rng(0)
    shown: list[np.ndarray] = []
    for controls in [("canny", "sketch", "depth"), (), ("depth",), ("canny", "depth"), ("sketch",)] * 3:
        count = int(rng.integers(1, 3))
        batch = [rng.integers(0, 256, (len(controls), *SIZE), np.uint8) for _ in range(count)]
        shown.append(np.stack(batch))
        settings = Settings(
            control=controls[0] if controls else "none", extra_controls=dict.fromkeys(controls[1:], 1.0)
        )
        engine.finish(engine.begin(batch, [settings] * count))
    assert [maps.shape for maps in painter.maps] == [maps.shape for maps in shown]
    assert all(np.array_equal(*both) for both in zip(painter.maps, shown, strict=True))


def test_colours_go_to_the_model_only_when_a_picture_keeps_some() -> None:
    painter = NumberPainter()
    engine = Engine(painter, max_batch=2, streams=NullStreams())
    small = np.full((SIZE[0] // 4, SIZE[1] // 4, 3), 77, np.uint8)
    maps, settings = [_map(1), _map(2)], [Settings(), Settings(init_strength=0.5)]
    engine.finish(engine.begin(maps, settings, [small, small]))
    engine.finish(engine.begin(maps, settings, [None, small]))
    engine.finish(engine.begin(maps, settings, [None, None]))
    engine.finish(engine.begin(maps[:1], settings[:1]))
    both, second, *none = painter.colours
    assert both is not None
    assert second is not None
    assert both.shape == second.shape == (2, 2, 4, 3)
    assert np.unique(both).tolist() == [77]
    assert np.unique(second[1]).tolist() == [77]
    assert np.unique(second[0]).tolist() == [0], "nobody is shown another's colours"
    assert none == [None, None]


@pytest.mark.parametrize(
    "maps",
    [
        [np.zeros((1, 8, 16), np.uint8), np.zeros((2, 8, 16), np.uint8)],
        [np.zeros((2, 8, 16), np.uint8)],
        [np.zeros((1, 1, 16), np.uint8)],
        [np.zeros((8, 16), np.uint8)],
    ],
)
def test_maps_that_do_not_fit_are_refused_and_the_slot_stays_usable(maps: list[np.ndarray]) -> None:
    engine = Engine(NumberPainter(), max_batch=2)
    with pytest.raises(ValueError, match=r"Maps of|maps of"):
        engine.begin(maps, [Settings()] * len(maps))
    _check(engine.finish(engine.begin([_map(3)], [Settings(seed=21)])).pictures, [3])
