"""The desk of maps with a network that is driven by the test: it draws when it is told to, and never before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipelines.canny import CannyConditioner
from pipelines.condition import ConditionMap
from pipelines.errors import PipelineError
from pipelines.settings import Kind, Settings
from pipelines.sketch import SketchConditioner
from realtime.errors import BadInput, Failure
from realtime.maps import MapDesk, MapKeeper, Maps
from realtime.side_stream import SideStream
from tests.pipelines import annotators

CPU = torch.device("cpu")
SIZE = (8, 16)
DEADLINE = 20.0
FRAME_NS = 10_000_000


class Network:
    """A slow conditioner. Its map is the picture's number all over; ``start`` lets it draw so many pictures."""

    def __init__(self, kind: Kind = "depth", *, free: bool = False) -> None:
        self.kind = kind
        self.free = free
        self.begun: queue.Queue[int] = queue.Queue()
        self.drawn: list[int] = []
        self.drawers = 0
        self.fails: set[int] = set()
        self.most_at_once = 0
        self._at_once = 0
        self._allowed = threading.Semaphore(0)
        self._lock = threading.Lock()

    def is_slow(self, settings: Settings) -> bool:
        return True

    def warm_up(self, size: tuple[int, int], settings: Settings) -> None:
        raise AssertionError("The desk has no business here.")

    def drawer(self) -> Network:
        self.drawers += 1
        return self

    def __call__(self, image: NDArray[np.uint8], settings: Settings) -> ConditionMap:
        number = int(image[0, 0, 0])
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        self.begun.put(number)
        if not self.free:
            assert self._allowed.acquire(timeout=DEADLINE)
        with self._lock:
            self._at_once -= 1
        self.drawn.append(number)
        if number in self.fails:
            raise PipelineError(f"Picture {number} is too much for it.")
        return ConditionMap(map=np.ascontiguousarray(image[:, :, 0]), kind=self.kind)

    def start(self, count: int = 1) -> None:
        for _ in range(count):
            self._allowed.release()

    def next_begun(self) -> int:
        return self.begun.get(timeout=DEADLINE)


class Quick:
    """A filter: the picture's number plus an offset of its own."""

    def __init__(self, kind: Kind, offset: int = 100) -> None:
        self.kind = kind
        self.offset = offset

    def is_slow(self, settings: Settings) -> bool:
        return False

    def warm_up(self, size: tuple[int, int], settings: Settings) -> None:
        raise AssertionError("The desk has no business here.")

    def drawer(self) -> Quick:
        return self

    def __call__(self, image: NDArray[np.uint8], settings: Settings) -> ConditionMap:
        return ConditionMap(map=image[:, :, 0] + np.uint8(self.offset), kind=self.kind)


def depth(every: int = 1, **changes: object) -> Settings:
    return Settings().replace(control="depth", depth_every=every, **changes)


def show(keeper: MapKeeper, number: int, settings: Settings, size: tuple[int, int] = SIZE) -> Maps:
    """Frame ``number``, captured 10 ms after the one before it."""
    return keeper(np.full((*size, 3), number, np.uint8), settings, number * FRAME_NS)


def seen(maps: Maps) -> tuple[int, float | None]:
    """The number of the frame that the first map was drawn from, and its age."""
    return int(maps.planes[0, 0, 0]), maps.age_ms


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def desk(network: Network) -> Iterator[MapDesk]:
    desk = MapDesk({"depth": network, "canny": Quick("canny"), "sketch": Quick("sketch", 50)}, device=CPU)
    yield desk
    network.start(100)
    assert desk.close(DEADLINE)


def first(keeper: MapKeeper, network: Network, settings: Settings, pool: ThreadPoolExecutor, number: int = 0) -> Maps:
    """A stream's first frame, whose map is drawn while it waits."""
    waiting = pool.submit(show, keeper, number, settings)
    assert network.next_begun() == number
    network.start()
    return waiting.result(DEADLINE)


def settle(network: Network, keeper: MapKeeper, number: int) -> None:
    """Let the picture ``number`` that is being drawn be drawn, and see its map arrive."""
    network.start()
    arrived = threading.Event()
    for _ in range(int(DEADLINE * 100)):
        # Every 60th frame is due: these ask for nothing, they only look.
        if seen(show(keeper, number, depth(60)))[0] == number:
            return
        arrived.wait(0.01)
    raise AssertionError(f"The map of picture {number} never came.")


# What is drawn in line.


def test_planes_are_in_the_order_of_the_settings(desk: MapDesk) -> None:
    keeper = desk.keeper()
    settings = Settings().replace(control="sketch", extra_controls={"canny": 0.5})
    maps = show(keeper, 7, settings)
    assert settings.kinds == ("sketch", "canny")
    assert maps.planes.shape == (2, *SIZE)
    assert maps.planes.dtype == np.uint8
    assert maps.planes.flags.c_contiguous
    assert [int(plane[0, 0]) for plane in maps.planes] == [57, 107]
    assert maps.age_ms is None


def test_without_control_there_are_no_planes_but_a_size(desk: MapDesk) -> None:
    maps = show(desk.keeper(), 7, Settings().replace(control="none"))
    assert maps.planes.shape == (0, *SIZE)
    assert maps.planes.dtype == np.uint8
    assert maps.age_ms is None


def test_maps_of_a_smaller_picture_are_drawn_at_its_size_but_networks_see_the_large_one(
    desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor
) -> None:
    keeper = desk.keeper()
    settings = depth(60).replace(extra_controls={"canny": 0.5})
    large, small = np.full((*SIZE, 3), 7, np.uint8), np.full((4, 8, 3), 9, np.uint8)
    waiting = elsewhere.submit(keeper, large, settings, 0)
    assert network.next_begun() == 7
    network.start()
    assert waiting.result(DEADLINE).planes.shape == (2, *SIZE)
    for number in (1, 2):
        maps = keeper(large, settings, number * FRAME_NS, small=small)
        assert maps.planes.shape == (2, 4, 8)
        assert [int(plane[0, 0]) for plane in maps.planes] == [7, 109]
        assert keeper(large, settings, number * FRAME_NS).planes.shape == (2, *SIZE)
    assert network.drawers == 1, "its last map stays of use"
    assert keeper(large, Settings().replace(control="none"), 0, small=small).planes.shape == (0, 4, 8)
    assert keeper.has_slow_maps(settings)
    assert not keeper.has_slow_maps(Settings())


def test_a_kind_that_the_model_lacks_is_named() -> None:
    desk = MapDesk({"canny": Quick("canny")}, device=CPU)
    keeper = desk.keeper()
    assert keeper.waiting_room(depth()) is None
    with pytest.raises(BadInput, match="no control 'depth'; it has canny"):
        show(keeper, 0, depth())
    desk.close()


def test_quick_maps_need_no_thread() -> None:
    before = threading.active_count()
    desk = MapDesk({"canny": Quick("canny")}, device=CPU)
    show(desk.keeper(), 0, Settings())
    assert threading.active_count() == before
    assert desk.close()


# For files: in line, deterministic.


@pytest.mark.parametrize("every", [1, 3])
def test_a_film_has_every_nth_map_drawn_and_the_others_reused(every: int) -> None:
    network = Network(free=True)
    desk = MapDesk({"depth": network}, device=CPU, wait=True)
    keeper = desk.keeper()
    shown = [seen(show(keeper, number, depth(every))) for number in range(8)]
    assert network.drawn == list(range(0, 8, every))
    assert shown == [(number - number % every, number % every * 10.0) for number in range(8)]
    assert keeper.waiting_room(depth(every)) is None
    assert desk.close()
    assert desk.close()


def test_a_films_failing_map_raises_and_the_next_frame_is_drawn() -> None:
    network = Network(free=True)
    network.fails = {0, 4}
    desk = MapDesk({"depth": network}, device=CPU, wait=True)
    keeper = desk.keeper()
    told = []
    for number in range(7):
        try:
            told.append(seen(show(keeper, number, depth(3)))[0])
        except PipelineError as error:
            told.append(str(error))
    assert told == ["Picture 0 is too much for it.", 1, 1, 1, "Picture 4 is too much for it.", 5, 5]
    assert network.drawn == [0, 1, 4, 5]


# Live: the first map.


def test_the_first_frame_waits_for_its_own_map(desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor) -> None:
    waiting = elsewhere.submit(show, desk.keeper(), 3, depth())
    assert network.next_begun() == 3
    assert not waiting.done()
    network.start()
    assert seen(waiting.result(DEADLINE)) == (3, 0.0)


def test_who_waits_for_a_first_map_keeps_nobody_waiting(
    desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor
) -> None:
    """Twenty new depth sessions and one with edges, on a pool of a single thread."""
    keepers, edges = [desk.keeper() for _ in range(20)], desk.keeper()
    waiting: list[Future[Maps]] = []
    with ThreadPoolExecutor(1) as pool:
        for keeper in keepers:
            waiting.append((keeper.waiting_room(depth()) or pool).submit(show, keeper, 1, depth()))
        assert edges.waiting_room(Settings()) is None
        assert seen(pool.submit(show, edges, 5, Settings()).result(DEADLINE)) == (105, None)
        assert not any(each.done() for each in waiting)
        network.start(20)
        done, _ = wait(waiting, DEADLINE)
    assert [seen(each.result()) for each in done] == [(1, 0.0)] * 20
    assert [keeper.waiting_room(depth()) for keeper in keepers] == [None] * 20


def test_a_wait_ends(
    desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = desk.keeper()
    with monkeypatch.context() as patch:
        patch.setattr("realtime.slow_maps.FIRST_MAP_SECONDS", 0.01)
        with pytest.raises(Failure, match="has not come"):
            show(keeper, 1, depth())
    assert network.next_begun() == 1
    later = elsewhere.submit(show, keeper, 2, depth(5))
    network.start()
    assert seen(later.result(DEADLINE)) == (1, 10.0)


def test_another_estimator_another_size_and_a_pause_each_make_a_first_frame(
    desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor
) -> None:
    keeper, settings = desk.keeper(), depth(60)
    first(keeper, network, settings, elsewhere)
    assert seen(show(keeper, 1, settings)) == (0, 10.0)

    zoe = depth(60, depth_estimator="zoe")
    assert keeper.waiting_room(settings) is None
    assert keeper.waiting_room(zoe) is not None
    assert seen(first(keeper, network, zoe, elsewhere, 2)) == (2, 0.0)

    larger = elsewhere.submit(show, keeper, 3, zoe, (16, 24))
    assert network.next_begun() == 3
    network.start()
    assert larger.result(DEADLINE).planes.shape == (1, 16, 24)

    show(keeper, 4, Settings(), (16, 24))
    assert keeper.waiting_room(zoe) is not None
    again = elsewhere.submit(show, keeper, 5, zoe, (16, 24))
    assert network.next_begun() == 5
    network.start()
    assert seen(again.result(DEADLINE)) == (5, 0.0)
    assert network.drawers == 4  # nothing of the old range is left


# Live: the frames after it.


def test_frames_between_take_the_last_map_and_its_age_grows(
    desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor
) -> None:
    keeper, settings = desk.keeper(), depth(3)
    first(keeper, network, settings, elsewhere)
    assert [seen(show(keeper, number, settings)) for number in (1, 2)] == [(0, 10.0), (0, 20.0)]
    assert network.begun.empty()
    assert seen(show(keeper, 3, settings)) == (0, 30.0)  # given to the worker, which nobody waits for
    assert network.next_begun() == 3
    assert seen(show(keeper, 4, settings)) == (0, 40.0)
    settle(network, keeper, 3)
    assert seen(show(keeper, 5, depth(60))) == (3, 20.0)
    assert network.drawn == [0, 3]


def test_never_a_queue_the_newest_picture_wins(desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor) -> None:
    keeper = desk.keeper()
    first(keeper, network, depth(), elsewhere)
    show(keeper, 1, depth())
    assert network.next_begun() == 1
    for number in (2, 3, 4, 5):  # each is due, and the worker is at 1
        assert seen(show(keeper, number, depth()))[0] == 0
    network.start()
    assert network.next_begun() == 5
    assert desk.displaced == 3
    settle(network, keeper, 5)
    assert network.drawn == [0, 1, 5]


def test_a_late_picture_gives_way_to_any_newer_one(
    desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor
) -> None:
    """Due was 4, and 5 is fresher by the time that the worker is free."""
    keeper, settings = desk.keeper(), depth(2)
    first(keeper, network, settings, elsewhere)
    show(keeper, 1, settings)
    show(keeper, 2, settings)
    assert network.next_begun() == 2
    for number in (3, 4, 5):
        show(keeper, number, settings)
    assert desk.displaced == 1
    network.start()
    assert network.next_begun() == 5


def test_sessions_take_turns(desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor) -> None:
    greedy, modest = desk.keeper(), desk.keeper()
    first(greedy, network, depth(), elsewhere, 0)
    first(modest, network, depth(), elsewhere, 100)
    show(greedy, 1, depth())
    assert network.next_begun() == 1
    show(greedy, 2, depth())
    show(greedy, 3, depth())
    show(modest, 101, depth())
    network.start()
    assert network.next_begun() == 101  # the greedy one has just been served
    show(greedy, 4, depth())
    network.start()
    assert network.next_begun() == 4
    show(modest, 102, depth())
    show(greedy, 5, depth())
    network.start()
    assert network.next_begun() == 102


def test_quick_and_slow_kinds_of_one_frame(network: Network, desk: MapDesk, elsewhere: ThreadPoolExecutor) -> None:
    keeper = desk.keeper()
    settings = depth(60, extra_controls={"canny": 0.5})
    first(keeper, network, settings, elsewhere)
    maps = show(keeper, 4, settings)
    assert [int(plane[0, 0]) for plane in maps.planes] == [0, 104]
    assert maps.age_ms == 40.0


def test_the_age_is_that_of_the_oldest_slow_map(elsewhere: ThreadPoolExecutor) -> None:
    near, lines = Network("depth"), Network("sketch")
    desk = MapDesk({"depth": near, "sketch": lines}, device=CPU)
    keeper, both = desk.keeper(), depth(60, extra_controls={"sketch": 1.0})
    first(keeper, near, depth(60), elsewhere, 0)
    waiting = elsewhere.submit(show, keeper, 3, both)
    assert lines.next_begun() == 3
    lines.start()
    maps = waiting.result(DEADLINE)
    assert [int(plane[0, 0]) for plane in maps.planes] == [0, 3]
    assert maps.age_ms == 30.0
    assert desk.close(DEADLINE)


def test_networks_are_never_run_by_two_threads_at_once(elsewhere: ThreadPoolExecutor) -> None:
    for wait_for_maps in (False, True):
        network = Network(free=True)
        desk = MapDesk({"depth": network}, device=CPU, wait=wait_for_maps)
        work = [
            elsewhere.submit(lambda keeper: [show(keeper, n, depth()) for n in range(20)], desk.keeper())
            for _ in range(6)
        ]
        for each in work:
            each.result(DEADLINE)
        assert network.most_at_once == 1
        assert len(network.drawn) == 120 if wait_for_maps else len(network.drawn) >= 6
        assert desk.close(DEADLINE)


# Errors and endings.


def test_a_failing_first_map_raises_on_the_callers_thread(
    desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor
) -> None:
    network.fails = {1}
    keeper, other = desk.keeper(), desk.keeper()
    with pytest.raises(PipelineError, match="Picture 1 is too much"):
        first(keeper, network, depth(), elsewhere, 1)
    assert seen(first(other, network, depth(), elsewhere, 9)) == (9, 0.0)
    assert seen(first(keeper, network, depth(), elsewhere, 2)) == (2, 0.0)


def test_a_later_failure_costs_one_frame_and_the_next_waits_for_a_map(
    desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor
) -> None:
    network.fails = {1}
    keeper = desk.keeper()
    first(keeper, network, depth(), elsewhere)
    show(keeper, 1, depth())
    assert network.next_begun() == 1
    told = elsewhere.submit(until_it_raises, keeper, depth(60))
    network.start()
    assert told.result(DEADLINE) == "Picture 1 is too much for it."
    assert keeper.waiting_room(depth()) is not None
    assert seen(first(keeper, network, depth(), elsewhere, 7)) == (7, 0.0)


def until_it_raises(keeper: MapKeeper, settings: Settings) -> str:
    pause = threading.Event()
    for _ in range(int(DEADLINE * 100)):
        try:
            show(keeper, 2, settings)
        except PipelineError as error:
            return str(error)
        pause.wait(0.01)
    return "It never raised."


def test_a_network_that_always_fails_raises_for_every_frame(
    desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor
) -> None:
    """So that a session counts its failures in a row, and ends."""
    network.fails = set(range(10))
    keeper = desk.keeper()
    for number in range(5):
        with pytest.raises(PipelineError):
            first(keeper, network, depth(4), elsewhere, number)


def test_closing_a_keeper_leaves_the_others_alone(
    desk: MapDesk, network: Network, elsewhere: ThreadPoolExecutor
) -> None:
    leaving, staying = desk.keeper(), desk.keeper()
    waiting = elsewhere.submit(show, leaving, 1, depth())
    assert network.next_begun() == 1
    leaving.close()
    leaving.close()
    with pytest.raises(Failure, match="has ended"):
        waiting.result(DEADLINE)
    with pytest.raises(Failure, match="has ended"):
        show(leaving, 2, depth())
    network.start()
    assert seen(first(staying, network, depth(), elsewhere, 5)) == (5, 0.0)


def test_closing_the_desk_wakes_who_waits_and_ends_the_thread(network: Network, elsewhere: ThreadPoolExecutor) -> None:
    desk = MapDesk({"depth": network, "canny": Quick("canny")}, device=CPU)
    drawing, queued = desk.keeper(), desk.keeper()
    waiting = [elsewhere.submit(show, drawing, 1, depth())]
    assert network.next_begun() == 1
    room = queued.waiting_room(depth())
    assert room is not None
    waiting.append(room.submit(show, queued, 2, depth()))
    assert not desk.close(0.01)  # it is at picture 1, which can't be interrupted
    for each in waiting:
        with pytest.raises(Failure):
            each.result(DEADLINE)
    network.start()
    assert desk.close(DEADLINE)
    assert desk.close(DEADLINE)
    assert network.drawn == [1]
    assert not [thread for thread in threading.enumerate() if thread.name == "maps"]
    with pytest.raises(Failure, match="stopping"):
        show(desk.keeper(), 3, depth())


# With what really draws.


@pytest.mark.parametrize("wait_for_maps", [False, True])
def test_real_filters_and_a_real_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_for_maps: bool) -> None:
    monkeypatch.setenv("SDXS_MODELS", str(tmp_path))
    annotators.save("pidinet", tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    sketch = SketchConditioner(device=CPU)
    desk = MapDesk({"sketch": sketch, "canny": CannyConditioner()}, device=CPU, wait=wait_for_maps)
    keeper = desk.keeper()
    for detector in ("lineart_standard", "drawn", "pidinet"):
        settings = Settings().replace(control="sketch", extra_controls={"canny": 1.0}, sketch_detector=detector)
        maps = keeper(picture, settings, 5)
        assert np.array_equal(maps.planes[0], sketch(picture, settings).map)
        assert np.array_equal(maps.planes[1], CannyConditioner()(picture, settings).map)
        assert maps.age_ms == (0.0 if detector == "pidinet" else None)
    assert desk.close(DEADLINE)


def test_without_cuda_a_side_stream_just_runs_the_work() -> None:
    assert SideStream(CPU).run(threading.get_ident) == threading.get_ident()


@pytest.mark.gpu
def test_on_cuda_the_work_runs_on_a_stream_of_its_own_behind_what_the_default_one_has_begun() -> None:
    device = torch.device("cuda")
    side = SideStream(device)
    streams: list[int] = []
    weights = torch.zeros(2048, 2048)

    def work() -> NDArray[np.float32]:
        streams.append(torch.cuda.current_stream(device).cuda_stream)
        return (on_device @ on_device).cpu().numpy()

    for value in range(1, 20):
        on_device = weights.to(device)
        for _ in range(50):  # work that is still going on when the side stream reads
            on_device = on_device @ on_device * 0 + value
        assert (side.run(work) == value * value * 2048).all()
    assert set(streams) == {streams[0]}
    assert streams[0] != torch.cuda.default_stream(device).cuda_stream
