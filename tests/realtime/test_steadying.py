"""Steadiness in sessions and films: beside the model, newest first, each stream for itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.settings import Settings
from realtime.film import paint_film
from realtime.metrics import Metrics
from realtime.prepare import Prepared
from realtime.steadying import Steadying
from realtime.tally import Tally
from streaming.frame import Frame
from tests.realtime.conftest import MakeHub
from tests.realtime.fakes import Camera, NumberPainter, Viewer, model_of, numbered, until

Picture = NDArray[np.uint8]
DEADLINE = 10.0


def flickers(count: int) -> int:
    """What the pictures of a still camera with noise are numbered."""
    return 100 + 10 * (count % 2)


def steps(frames: list[Frame]) -> NDArray[np.int64]:
    """From each frame to the next in the painted number."""
    return np.abs(np.diff([int(frame.image[0, 0, 0]) for frame in frames]))


async def test_a_session_is_steady_and_its_neighbour_is_as_it_was_painted(make_hub: MakeHub) -> None:
    hub = await make_hub()
    steady, plain = hub.open("steady", settings={"steadiness": 0.9}), hub.open("plain")
    viewers = [Viewer(steady), Viewer(plain)]
    cameras = [Camera(session, fps=100, shows=flickers) for session in (steady, plain)]
    for viewer in viewers:
        await viewer.until(lambda v: len(v.frames) >= 20)
    for camera in cameras:
        camera.close()
    assert steps(viewers[0].frames).max() <= 2
    assert all((frame.image[..., 0] == flickers(frame.seq)).all() for frame in viewers[1].frames)
    for session in (steady, plain):
        await until(lambda session=session: balanced(session.status()))


def balanced(row: dict) -> bool:
    return row["frames_in"] == row["frames_out"] + row["frames_dropped"]


async def test_a_change_is_seen_in_full_with_the_first_frame_that_has_it(make_hub: MakeHub) -> None:
    hub = await make_hub()
    session = hub.open("one", settings={"steadiness": 0.9, "seed": 10})
    viewer = Viewer(session)
    with Camera(session, fps=100, shows=flickers):
        await viewer.until(lambda v: len(v.frames) >= 10)
        change = session.change({"seed": 200})["id"]
        await viewer.until(lambda v: any(event["id"] == change for event in v.of_type("visible")))
        first = next(event["seq"] for event in viewer.of_type("visible") if event["id"] == change)
        await viewer.until(lambda v: v.frames[-1].seq > first + 5)
    for frame in viewer.frames:
        assert (frame.image[..., 1] == (200 if frame.seq >= first else 10)).all()


async def test_what_walks_over_a_drawing_is_shown_as_it_is_painted(make_hub: MakeHub) -> None:
    """No camera follows there: each picture has the seed of its moment."""
    hub = await make_hub(NumberPainter(controls=("canny", "sketch")))
    walk = {"steadiness": 0.9, "seed": 100, "walk": "seeds", "walk_seconds": 0.5}
    viewer = Viewer(hub.open("drawn", mode="draw", settings=walk))
    await viewer.until(lambda v: len(v.frames) > 1 and v.frames[-1].image[0, 0, 1] >= 102)
    start = viewer.frames[0].captured_ns
    for frame in viewer.frames:
        assert (frame.image[..., 1] == 100 + (frame.captured_ns - start) // 500_000_000).all()


class Gate:
    """A ``Steady`` that waits to be let through, and adds 1."""

    def __init__(self) -> None:
        self.entered, self.free = threading.Semaphore(0), threading.Semaphore(0)
        self.spoilt = False

    def picture(self, camera: Picture, painted: Picture, settings: Settings, *, change_id: int = 0) -> Picture:
        if not settings.steadiness:
            return painted
        self.entered.release()
        assert self.free.acquire(timeout=DEADLINE)
        if self.spoilt:
            raise ValueError("no flow")
        return painted + np.uint8(1)


class Host:
    """Keeps what may be shown, and on which thread it was told so."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []
        self.threads: list[str] = []
        self._changed = threading.Condition()

    def finished(self, prepared: Prepared, picture: Picture, model_ms: float) -> None:
        with self._changed:
            self.shown.append((prepared.frame.seq, int(picture[0, 0, 0])))
            self.threads.append(threading.current_thread().name)
            self._changed.notify()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.shown) >= count, DEADLINE)


def prepared(seq: int, steadiness: float = 0.9) -> Prepared:
    frame = numbered(50, seq=seq)
    planes = np.zeros((1, *frame.image.shape[:2]), np.uint8)
    return Prepared(frame=frame, image=frame.image, planes=planes, settings=Settings(steadiness=steadiness))


PAINTED = np.full((8, 16, 3), 60, np.uint8)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2, thread_name_prefix="pool") as executor:
        yield executor


def test_who_brings_pictures_never_waits_and_the_newest_is_next(pool: ThreadPoolExecutor) -> None:
    host, gate, tally = Host(), Gate(), Tally(Metrics())
    steadying = Steadying(host, steady=gate, pool=pool, tally=tally)
    steadying.put(prepared(0), PAINTED, 1.0)
    assert gate.entered.acquire(timeout=DEADLINE)
    for seq in (1, 2, 3):  # this returns, though the first is held up
        steadying.put(prepared(seq), PAINTED, 1.0)
    gate.free.release(2)
    host.wait(2)
    assert host.shown == [(0, 61), (3, 61)]
    assert all(name.startswith("pool") for name in host.threads)
    assert tally.row()["frames_dropped"] == 2


def test_switched_off_pictures_pass_at_once_and_none_comes_late(pool: ThreadPoolExecutor) -> None:
    host, gate, tally = Host(), Gate(), Tally(Metrics())
    steadying = Steadying(host, steady=gate, pool=pool, tally=tally)
    steadying.put(prepared(0, steadiness=0), PAINTED, 1.0)
    assert host.shown == [(0, 60)]
    assert host.threads == [threading.current_thread().name]
    steadying.put(prepared(1), PAINTED, 1.0)
    assert gate.entered.acquire(timeout=DEADLINE)
    steadying.put(prepared(2, steadiness=0), PAINTED, 1.0)  # behind the one in work
    gate.free.release()
    host.wait(3)
    steadying.put(prepared(3, steadiness=0), PAINTED, 1.0)
    host.wait(4)
    assert host.shown == [(0, 60), (1, 61), (2, 60), (3, 60)]
    assert tally.row()["frames_dropped"] == 0


def test_what_cannot_be_made_steady_is_shown_as_it_was_painted(
    pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    host, gate = Host(), Gate()
    gate.spoilt = True
    gate.free.release(2)
    steadying = Steadying(host, steady=gate, pool=pool, tally=Tally(Metrics()))
    with caplog.at_level(logging.ERROR):
        for seq in (0, 1):
            steadying.put(prepared(seq), PAINTED, 1.0)
            host.wait(seq + 1)
    assert host.shown == [(0, 60), (1, 60)]
    assert "can't be made steady" in caplog.text


def test_after_the_end_nothing_is_shown_and_what_waited_is_counted(pool: ThreadPoolExecutor) -> None:
    host, gate, tally = Host(), Gate(), Tally(Metrics())
    steadying = Steadying(host, steady=gate, pool=pool, tally=tally)
    steadying.put(prepared(0), PAINTED, 1.0)
    assert gate.entered.acquire(timeout=DEADLINE)
    steadying.put(prepared(1), PAINTED, 1.0)
    steadying.close()
    steadying.close()
    steadying.put(prepared(2), PAINTED, 1.0)
    gate.free.release()
    pool.shutdown()
    assert host.shown == [(0, 61)]
    assert tally.row()["frames_dropped"] == 2


class Film:
    """A ``Source`` of a still camera's frames, and the ``Sink`` for them."""

    def __init__(self, count: int) -> None:
        self._left = iter([numbered(flickers(seq), seq=seq) for seq in range(count)])
        self.written: list[Frame] = []

    def read(self, timeout: float | None = None) -> Frame | None:
        return next(self._left, None)

    def write(self, frame: Frame) -> None:
        self.written.append(frame)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("steadiness", "most"), [(0.9, 2), (0.0, 10)])
def test_a_film_is_as_steady_as_a_stream(steadiness: float, most: int) -> None:
    film = Film(12)
    settings = Settings(steadiness=steadiness)
    paint_film(film, film, model_of(NumberPainter(batches=(1, 2))), settings, painted=lambda count: None)
    assert [frame.seq for frame in film.written] == list(range(12))
    found = steps(film.written)
    assert found.max() <= most
    assert steadiness or (found == 10).all()
