"""Still scenes: what counts as the same, and what a session makes of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from pipelines.settings import Settings
from realtime.repeat import REPEAT_SECONDS, Repeater
from realtime.similar import Look, StillScene, blocks_of, difference
from realtime.snapshot import Snapshot
from streaming.frame import Frame
from tests.realtime.conftest import MakeHub
from tests.realtime.fakes import Camera, NumberPainter, Viewer, numbered, until
from tests.realtime.test_maps import Network

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photograph() -> Image:
    return np.asarray(cv2.resize(data.astronaut(), (512, 512), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def settled(session: Any) -> bool:
    row = session.status()
    return bool(row["frames_in"] == row["frames_out"] + row["frames_dropped"] + row["frames_skipped"])


# The measure.


def test_one_block_that_changes_in_one_channel_is_a_change(photograph: Image) -> None:
    other = photograph.copy()
    other[96:112, 48:64, 2] = np.where(other[96:112, 48:64, 2] > 127, 0, 255)
    assert difference(blocks_of(photograph), blocks_of(photograph)) == 0
    assert difference(blocks_of(photograph), blocks_of(other)) > 50


@pytest.mark.parametrize("size", [(512, 512), (256, 256), (100, 200), (8, 16), (512, 500)])
def test_every_pixel_is_in_a_block(size: tuple[int, int]) -> None:
    black = np.zeros((*size, 3), np.uint8)
    for y, x in ((0, 0), (size[0] - 1, size[1] - 1)):
        image = black.copy()
        image[max(0, y - 7) : y + 8, max(0, x - 7) : x + 8] = 255
        assert difference(blocks_of(black), blocks_of(image)) > 10


@pytest.mark.parametrize(("sigma", "value"), [(2, 2), (5, 4), (10, 6), (20, 12)])
def test_the_noise_of_a_camera_is_less_than_the_value_the_docs_give(
    photograph: Image, sigma: float, value: float
) -> None:
    luck = np.random.default_rng(1)
    shots = [blocks_of(_noisy(photograph, sigma, luck)) for _ in range(40)]
    worst = max(difference(one, other) for one, other in itertools.pairwise(shots))
    assert value / 4 < worst < value


def test_half_a_pixel_of_movement_is_more_than_such_noise(photograph: Image) -> None:
    shift = np.array([[1, 0, 0.5], [0, 1, 0]], np.float32)
    moved = np.asarray(cv2.warpAffine(photograph, shift, (512, 512)), dtype=np.uint8)
    assert difference(blocks_of(photograph)[1:-1, 1:-1], blocks_of(moved)[1:-1, 1:-1]) >= 7


def _noisy(image: Image, sigma: float, luck: np.random.Generator) -> Image:
    return np.clip(image + luck.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)


# The scene.


def look(grey: int, *, at: int = 0, change_id: int = 0, map_at: int | None = None) -> Look:
    blocks = np.full((2, 2, 3), grey, np.uint8)
    return Look(blocks=blocks, captured_ns=at, change_id=change_id, map_ns=at if map_at is None else map_at)


def snapshot(limit: float = 3.0, change_id: int = 0, **settings: Any) -> Snapshot:
    return Snapshot(settings=Settings(skip_similar=limit, **settings), change_id=change_id)


def paint(scene: StillScene, *looks: Look) -> None:
    for each in looks:
        scene.given(each)
        scene.painted(each)


def test_nothing_is_skipped_before_something_was_painted() -> None:
    scene = StillScene()
    assert not scene.is_still(look(100), snapshot())
    scene.given(first := look(100))
    assert not scene.is_still(look(100), snapshot()), "it may still fail"
    scene.painted(first)
    assert scene.is_still(look(100), snapshot())


def test_the_limit_is_what_the_setting_says() -> None:
    scene = StillScene()
    paint(scene, look(100))
    assert [scene.is_still(look(grey), snapshot(3.0)) for grey in (98, 102, 103, 97)] == [True, True, False, False]
    assert scene.is_still(look(102), snapshot(2.5))
    assert not scene.is_still(look(102), snapshot(2.0))


def test_slow_drift_adds_up_until_it_is_painted() -> None:
    scene, painted = StillScene(), 0
    for step in range(100):
        now = look(100 + step // 2, at=step)
        if not scene.is_still(now, snapshot(5.0)):
            painted += 1
            paint(scene, now)
    assert painted == 10


def test_a_change_of_the_settings_is_painted_and_so_is_a_walk() -> None:
    scene = StillScene()
    paint(scene, look(100, change_id=1))
    assert scene.is_still(look(100), snapshot(change_id=1))
    assert not scene.is_still(look(100), snapshot(change_id=2))
    assert not scene.is_still(look(100), snapshot(change_id=1, walk="seeds"))


def test_a_picture_unlike_one_on_its_way_is_painted() -> None:
    """Otherwise the viewers would be left with a flash that the scene no longer shows."""
    scene = StillScene()
    paint(scene, look(100))
    scene.given(flash := look(200, at=1))
    assert not scene.rests
    assert not scene.is_still(look(100, at=2), snapshot())
    scene.painted(flash)
    assert not scene.is_still(look(100, at=3), snapshot())
    assert scene.is_still(look(200, at=3), snapshot())


def test_one_that_gave_way_on_the_way_is_forgotten() -> None:
    scene = StillScene()
    paint(scene, look(100))
    scene.given(look(200, at=1))
    scene.given(last := look(100, at=2))
    scene.displaced()
    assert scene.is_still(look(100, at=3), snapshot())
    scene.painted(last)
    assert scene.rests


def test_after_an_error_whatever_comes_is_painted() -> None:
    scene = StillScene()
    paint(scene, look(100))
    scene.given(look(100, at=1))
    scene.forget()
    assert not scene.is_still(look(100, at=2), snapshot())


def test_after_a_time_without_looking_it_begins_anew() -> None:
    """The setting was off for a while, and other pictures were painted."""
    scene = StillScene()
    paint(scene, look(100))
    scene.painted(None)
    assert not scene.is_still(look(100, at=5), snapshot())


def test_a_slow_map_of_what_went_on_before_is_no_reason_to_rest() -> None:
    """Pictures go on being painted until one has a map that was drawn since the scene is still."""
    scene = StillScene()
    paint(scene, look(50, at=90, map_at=50))
    assert not scene.is_still(look(100, at=100), snapshot())
    paint(scene, look(100, at=100, map_at=50))
    for at, map_at in ((110, 60), (120, 95)):
        assert not scene.is_still(look(100, at=at), snapshot())
        paint(scene, look(100, at=at, map_at=map_at))
    assert not scene.is_still(look(100, at=130), snapshot())
    paint(scene, look(100, at=130, map_at=100))
    assert scene.is_still(look(100, at=140), snapshot())


# The session.


async def test_a_still_scene_is_painted_once_and_its_pictures_are_counted(make_hub: MakeHub) -> None:
    painter = NumberPainter()
    session = (await make_hub(painter)).open("still", settings={"skip_similar": 3})
    viewer = Viewer(session)
    before = len(painter.forwards)
    with Camera(session, fps=60, shows=lambda count: 7):
        await until(lambda: session.status()["frames_skipped"] >= 60)
    await until(lambda: settled(session))
    row = session.status()
    assert len(painter.forwards) - before == row["frames_out"] <= 4, "those that came before the first was painted"
    assert viewer.frames[0].image[0, 0, 0] == 7


async def test_movement_is_painted_and_the_pictures_stay_in_order(make_hub: MakeHub) -> None:
    """Half a second still, half a second moving, and so on: what is seen is never older than the scene it shows."""
    painter = NumberPainter(seconds=0.01)
    session = (await make_hub(painter)).open("moves", settings={"skip_similar": 3})
    viewer = Viewer(session)

    def shows(count: int) -> int:
        return 5 * (count % 30) if count // 30 % 2 else 200

    with Camera(session, fps=60, shows=shows):
        await viewer.until(lambda v: v.frames and v.frames[-1].seq > 240, timeout=60)
    await until(lambda: settled(session))
    seqs = [frame.seq for frame in viewer.frames]
    assert seqs == sorted(set(seqs))
    for frame in viewer.frames:
        assert abs(int(frame.image[0, 0, 0]) - shows(frame.seq)) < 3
    row = session.status()
    assert row["frames_skipped"] > 40
    assert row["frames_out"] > 40


async def test_whoever_comes_late_to_a_still_scene_sees_it(make_hub: MakeHub) -> None:
    session = (await make_hub()).open("still", settings={"skip_similar": 3})
    with Camera(session, fps=60, shows=lambda count: 7):
        await until(lambda: session.status()["frames_skipped"] > 5)
        out = session.status()["frames_out"]
        late = Viewer(session)
        began = time.monotonic()
        await late.until(lambda v: len(v.frames) >= 5)
        assert time.monotonic() - began >= 3.9 * REPEAT_SECONDS, "at a low rate"
    assert session.status()["frames_out"] == out, "shown again is not painted"
    for times in ("seq", "pts", "captured_ns"):
        values = [getattr(frame, times) for frame in late.frames]
        assert values == sorted(set(values)), f"{times} rises"
    assert all(frame.image[0, 0, 0] == 7 for frame in late.frames)


async def test_a_change_is_painted_at_once_in_a_still_scene_and_told(make_hub: MakeHub) -> None:
    session = (await make_hub()).open("still", settings={"skip_similar": 3})
    viewer = Viewer(session)
    with Camera(session, fps=60, shows=lambda count: 7):
        for seed in (11, 12, 13):
            await until(lambda: session.status()["frames_skipped"] > 5)
            change = session.change({"seed": seed})["id"]
            await viewer.until(
                lambda v, change=change: v.of_type("visible")[-1:] and v.of_type("visible")[-1]["id"] == change
            )
            assert viewer.frames[-1].image[0, 0].tolist() == [7, seed, 100]


async def test_a_walk_goes_on_in_a_still_scene(make_hub: MakeHub) -> None:
    painter = NumberPainter()
    settings = {"skip_similar": 3, "walk": "seeds"}
    session = (await make_hub(painter)).open("still", settings=settings)
    with Camera(session, fps=60, shows=lambda count: 7):
        await until(lambda: session.status()["frames_out"] > 30)
    assert session.status()["frames_skipped"] == 0


async def test_it_is_off_unless_asked_for(make_hub: MakeHub) -> None:
    session = (await make_hub()).open("one")
    with Camera(session, fps=60, shows=lambda count: 7):
        await until(lambda: session.status()["frames_out"] > 30)
    assert session.status()["frames_skipped"] == 0


async def test_a_lost_picture_is_painted_anew_in_a_still_scene(make_hub: MakeHub) -> None:
    failing = iter([False] * 2 + [True])  # two for warming up, and then the first of the session

    def spoil(settings: Sequence[Settings]) -> None:
        if next(failing, False):
            raise RuntimeError("out of order")

    session = (await make_hub(NumberPainter(spoil=spoil))).open("still", settings={"skip_similar": 3})
    viewer = Viewer(session)
    session.push(numbered(7, seq=0))
    await until(lambda: settled(session) and session.status()["frames_dropped"] == 1)
    session.push(numbered(7, seq=1))
    await viewer.until(lambda v: v.frames)
    assert viewer.frames[0].seq == 1


async def test_a_slow_map_is_drawn_anew_before_a_scene_rests(make_hub: MakeHub) -> None:
    from realtime.hub import Hub
    from realtime.model import wrap

    network = Network("depth", free=True)
    painter = NumberPainter(controls=("depth",))
    network.warm_up = lambda size, settings: None  # type: ignore[method-assign]
    model = wrap(painter, {"depth": network})
    hub = Hub(lambda: model)
    hub.start()
    await hub.wait_ready()
    try:
        session = hub.open("slow", settings={"skip_similar": 3, "depth_every": 5})
        viewer = Viewer(session)
        with Camera(session, fps=60, shows=lambda count: min(count, 23) * 10):
            await until(lambda: session.status()["frames_skipped"] > 30)
        assert viewer.frames[-1].image[0, 0, 0] == 230, "the map is of the scene that rests"
        assert len(network.drawn) < 30
    finally:
        assert await hub.aclose()


async def test_the_metrics_count_what_was_skipped(make_hub: MakeHub) -> None:
    hub = await make_hub()
    session = hub.open("still", settings={"skip_similar": 3})
    with Camera(session, fps=60, shows=lambda count: 7):
        await until(lambda: session.status()["frames_skipped"] > 5)
    await until(lambda: settled(session))
    skipped = session.status()["frames_skipped"]
    assert f"sdxs_live_frames_skipped_total {skipped:.1f}".encode() in hub.metrics()[0]


def test_a_picture_is_shown_again_only_when_it_is_time_and_never_out_of_order() -> None:
    now = 0.0
    shown: list[Frame] = []
    repeater = Repeater(shown.append, clock=lambda: now)
    repeater.again(numbered(1, seq=1))
    assert not shown, "there is nothing yet"
    repeater.delivered(numbered(9, seq=5))
    for at, seq in ((0.1, 6), (0.2, 7), (0.3, 8), (0.41, 9), (0.7, 4)):
        now = at
        repeater.again(numbered(0, seq=seq))
    assert [frame.seq for frame in shown] == [7, 9]
    assert all(frame.image[0, 0, 0] == 9 for frame in shown)
