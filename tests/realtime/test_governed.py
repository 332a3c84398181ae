"""What a governor makes of a session: the ladder, and its effect on real pictures of a model whose cost is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipelines.settings import Settings
from realtime.effort import Effort, ladder
from realtime.governed import Governed
from realtime.governor import Governor
from realtime.hub import Hub
from realtime.model import wrap
from tests.realtime.conftest import MakeHub
from tests.realtime.fakes import Camera, NumberPainter, Viewer, until
from tests.realtime.test_maps import Network
from tests.realtime.test_similar import settled

SIZES = [(512, 512), (384, 384), (256, 256)]
FULL, SMALLER = (16, 32), ((12, 24), (8, 16))


def governor(session: Any) -> Any:
    return session.status()["governor"]


# The ladder.


def test_each_step_of_the_ladder_saves_one_thing_more() -> None:
    steps = ladder(SIZES, slow_maps=True, camera=True)
    assert [(step.maps, step.size[0], step.every) for step in steps] == [
        (1, 512, 1),
        (2, 512, 1),
        (2, 384, 1),
        (2, 256, 1),
        (2, 256, 2),
        (2, 256, 3),
    ]
    assert [step.doing for step in steps] == [
        "painting everything in full",
        "drawing maps half as often",
        "painting at three-quarter size",
        "painting at half size",
        "painting every second picture",
        "painting every third picture",
    ]


def test_steps_that_save_nothing_here_are_left_out() -> None:
    assert len(ladder(SIZES, slow_maps=False, camera=True)) == 5
    assert len(ladder(SIZES[:1], slow_maps=False, camera=True)) == 3
    alone = ladder([(512, 512), (320, 384)], slow_maps=False, camera=False)
    assert [step.doing for step in alone] == ["painting everything in full", "painting at 384×320"]


def test_slow_maps_come_half_as_often_within_the_range_of_the_setting() -> None:
    effort = Effort(size=(8, 8), maps=2)
    assert [effort.apply(Settings(depth_every=every)).depth_every for every in (1, 2, 29, 30, 31, 60)] == [
        2,
        4,
        58,
        60,
        60,
        60,
    ]
    settings = Settings(depth_every=7)
    assert Effort(size=(8, 8)).apply(settings) is settings


def test_the_ladder_is_that_of_the_settings_in_force() -> None:
    now = 0.0
    governed = Governed(
        sizes=SIZES,
        camera=True,
        has_slow_maps=lambda settings: settings.control == "depth",
        governor=Governor(clock=lambda: now),
    )
    canny, depth = Settings(latency_target=100), Settings(latency_target=100, control="depth")
    assert governed.row() is None
    assert governed.effort(Settings()).size == (512, 512)
    governed.effort(canny)
    assert governed.row() == {"level": 0, "of": 4, "doing": "painting everything in full"}
    for _ in range(200):
        now += 0.1
        governed.delivered(99.0 if governed.level else 500.0)
        governed.effort(canny)
    assert governed.row() == {"level": 1, "of": 4, "doing": "painting at three-quarter size"}
    assert governed.effort(depth) == Effort(size=(512, 512), maps=2, doing="drawing maps half as often")
    assert governed.row()["of"] == 5
    assert governed.effort(Settings()).size == (512, 512)
    assert governed.row() is None


# The session.


async def test_a_busy_model_is_met_with_smaller_pictures_and_a_free_one_with_full_ones(make_hub: MakeHub) -> None:
    """200 ms at full size, 112 and 50 at the smaller ones."""
    painter = NumberPainter(seconds=0.2, size=FULL, smaller=SMALLER)
    hub = await make_hub(painter)
    session = hub.open("busy", settings={"latency_target": 100})
    viewer = Viewer(session)
    with Camera(session, fps=60, size=FULL):
        await until(lambda: governor(session)["level"] == 2, timeout=60)
        assert governor(session) == {"level": 2, "of": 4, "doing": "painting at half size"}
        await until(lambda: painter.painted_sizes[-1] == SMALLER[1])
        assert b"sdxs_live_governor_level 2.0" in hub.metrics()[0]
        assert b"sdxs_live_sessions_governed 1.0" in hub.metrics()[0]
        await viewer.until(lambda v: v.of_type("stats") and v.of_type("stats")[-1]["governor"]["level"] == 2)
        painter.seconds = 0.002
        await until(lambda: governor(session)["level"] == 0, timeout=60)
        await until(lambda: painter.painted_sizes[-1] == FULL)
    await until(lambda: settled(session))
    assert all(frame.image.shape == (*FULL, 3) for frame in viewer.frames), "whatever size they were painted at"
    assert b"sdxs_live_governor_level 0.0" in hub.metrics()[0]


async def test_when_all_else_fails_every_third_picture_is_painted_and_the_rest_counted(make_hub: MakeHub) -> None:
    painter = NumberPainter(seconds=0.08)
    session = (await make_hub(painter)).open("busy", settings={"latency_target": 50})
    viewer = Viewer(session)
    with Camera(session, fps=10) as camera:
        await until(lambda: governor(session)["level"] == 2, timeout=60)
        assert governor(session) == {"level": 2, "of": 2, "doing": "painting every third picture"}
        from_here = camera.sent + 1
        await viewer.until(lambda v: v.frames and v.frames[-1].seq > from_here + 15, timeout=30)
    await until(lambda: settled(session))
    seqs = [frame.seq for frame in viewer.frames if frame.seq >= from_here]
    assert len(seqs) >= 4
    assert set(np.diff(seqs)) == {3}
    assert session.status()["frames_dropped"] >= 10


async def test_off_again_means_in_full_at_once(make_hub: MakeHub) -> None:
    painter = NumberPainter(seconds=0.1, size=FULL, smaller=SMALLER)
    session = (await make_hub(painter)).open("busy", settings={"latency_target": 50})
    with Camera(session, fps=30, size=FULL):
        await until(lambda: governor(session)["level"] >= 1, timeout=60)
        session.change({"latency_target": 0})
        await until(lambda: governor(session) is None and painter.painted_sizes[-1] == FULL)


async def test_a_session_alone_with_its_words_is_painted_smaller_but_never_left_out(make_hub: MakeHub) -> None:
    painter = NumberPainter(seconds=0.2, size=FULL, smaller=SMALLER)
    hub = await make_hub(painter)
    session = hub.open("words", mode="imagine", settings={"latency_target": 50, "walk": "seeds"})
    viewer = Viewer(session)
    await until(lambda: (governor(session) or {}).get("of") == 2)
    await until(lambda: governor(session)["level"] == 2, timeout=60)
    await until(lambda: painter.painted_sizes[-1] == SMALLER[1])
    session.change({"walk": "none", "seed": 5})
    await viewer.until(lambda v: v.of_type("visible"))


async def test_a_network_is_asked_half_as_often_and_shown_the_same_size(make_hub: MakeHub) -> None:
    network = Network("depth", free=True)
    network.warm_up = lambda size, settings: None  # type: ignore[method-assign]
    shown: set[tuple[int, ...]] = set()
    draw = network.__call__

    class Seeing:
        kind = "depth"

        def is_slow(self, settings: Settings) -> bool:
            return True

        def warm_up(self, size: tuple[int, int], settings: Settings) -> None:
            pass

        def drawer(self) -> Any:
            def drawer(image: Any, settings: Settings) -> Any:
                shown.add((*image.shape[:2], settings.depth_every))
                return draw(image, settings)

            network.drawers += 1
            return drawer

    painter = NumberPainter(seconds=0.1, size=FULL, smaller=SMALLER, controls=("depth",))
    model = wrap(painter, {"depth": Seeing()})  # type: ignore[dict-item]
    hub = Hub(lambda: model)
    hub.start()
    await hub.wait_ready()
    try:
        session = hub.open("deep", settings={"latency_target": 50, "depth_every": 3})
        with Camera(session, fps=30, size=FULL):
            await until(lambda: governor(session) and governor(session)["level"] == 3, timeout=60)
            assert governor(session) == {"level": 3, "of": 5, "doing": "painting at half size"}
            await until(lambda: painter.painted_sizes[-1] == SMALLER[1])
        assert network.drawers == 1, "another size is no reason to begin anew"
        assert shown == {(*FULL, 3), (*FULL, 6)}
    finally:
        assert await hub.aclose()


@pytest.mark.parametrize("target", [0, 50])
async def test_the_frames_that_are_left_out_do_not_stop_a_busy_session(make_hub: MakeHub, target: int) -> None:
    """A latency that no saving can bring about: the session goes on all the same."""
    painter = NumberPainter(seconds=0.12)
    session = (await make_hub(painter)).open("busy", settings={"latency_target": target})
    viewer = Viewer(session)
    with Camera(session, fps=30):
        await viewer.until(lambda v: len(v.frames) > 20, timeout=60)
    await until(lambda: settled(session))
