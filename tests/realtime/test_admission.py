"""Who is admitted: the arithmetic, and the same through a hub whose model has a known cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from realtime.admission import SHARE, Admission, Demand
from realtime.costs import CostModel
from realtime.easel import Patience
from realtime.hub import CPU_FPS
from realtime.tally import DEMAND_SECONDS, KNOWN_AFTER
from streaming.errors import NoFreePlace
from tests import webrtc
from tests.realtime.conftest import MakeHub
from tests.realtime.fakes import Camera, NumberPainter, Viewer, until
from tests.realtime.test_serve import app_of, ready

SIZE = (512, 512)
#: A GPU-like device: ms by batch size.
GPU = {1: 4.0, 2: 5.5, 4: 9.0, 8: 16.0, 16: 30.0}


def admission(costs: dict[int, float], fps: float = 24.0) -> Admission:
    model = CostModel(sorted(costs), {(SIZE, batch): ms for batch, ms in costs.items()})
    return Admission(model, size=SIZE, fps=fps)


def fill(desk: Admission, newcomer: Demand, live: Sequence[Demand] = ()) -> tuple[int, NoFreePlace]:
    """How many of the same are admitted on top of those that are live, and what the next one hears."""
    count, there = 0, list(live)
    while True:
        try:
            desk.check(there, newcomer)
        except NoFreePlace as refusal:
            return count, refusal
        there.append(newcomer)
        count += 1


PROMISED = Demand(company="canny")


@pytest.mark.parametrize(
    ("costs", "fps", "places"),
    [
        ({1: 31.0}, 10, 3),  # 3 · 10 · 31 = 930 ms
        ({1: 31.0}, 24, 1),
        ({1: 25.0}, 8, 4),
        ({1: 200.0}, 8, 1),  # nobody gets 8 frames/s here, and the first one comes in all the same
        (GPU, 24, 20),  # batches of 16 and 4, 39 ms · 24 = 936 ms; one more picture makes it 1032 ms
        (GPU, 30, 16),  # 30 ms · 30 = 900 ms; with one more 34 ms · 30 = 1020 ms
    ],
)
def test_the_number_admitted_is_that_of_the_arithmetic(costs: dict[int, float], fps: float, places: int) -> None:
    desk = admission(costs, fps)
    per_second = [fps * (desk.costs.pictures(SIZE, count) or 0) / 1e3 for count in range(1, 40)]
    expected = max(1, sum(share <= SHARE for share in per_second))
    assert fill(desk, PROMISED)[0] == desk.places() == expected == places


def test_the_refusal_says_why_and_when_to_try_again() -> None:
    desk = admission({1: 31.0}, 10)
    _, refusal = fill(desk, PROMISED)
    assert str(refusal) == (
        "The model takes 31 ms a picture, which is enough for 3 sessions at 10 frames/s; the 3 here take 93% of its "
        "time; try again in 30 s."
    )
    assert refusal.retry_after == 30
    _, refusal = fill(admission(GPU, 30), PROMISED)
    assert str(refusal).startswith("The model takes 4 ms for a picture and 30 ms for 16, which is enough for 16")
    _, refusal = fill(admission({1: 200.0}, 8), PROMISED)
    assert "200 ms a picture, which is not enough for a single session at 8 frames/s" in str(refusal)


def test_it_says_to_come_back_when_more_will_be_known() -> None:
    desk = admission({1: 31.0}, 10)
    live = [PROMISED, Demand(company="canny", known_in=1.6), Demand(company="canny", known_in=12.0)]
    with pytest.raises(NoFreePlace, match="try again in 2 s") as caught:
        desk.check(live, PROMISED)
    assert caught.value.retry_after == 2


def test_who_sends_less_or_nothing_leaves_room_and_who_sends_more_gets_no_more() -> None:
    desk = admission({1: 31.0}, 10)
    assert fill(desk, PROMISED, [Demand(company="canny", fps=5.0)] * 2)[0] == 2  # 310 + 2 · 310 = 930 ms
    assert fill(desk, PROMISED, [Demand(company="canny", fps=0.0)] * 20)[0] == 3
    assert fill(desk, PROMISED, [Demand(company="canny", fps=60.0)])[0] == 2


def test_sessions_that_share_no_batch_take_the_time_of_each() -> None:
    """16 of one company are one forward of 30 ms; two companies of 8 are two of 16 ms."""
    desk = admission(GPU, 24)
    one = [Demand(company="canny")] * 16
    two = [Demand(company=company) for company in ("canny", "text") for _ in range(8)]
    each = [Demand(company=number) for number in range(16)]
    assert desk.busy(one) == pytest.approx(24 * 0.030)
    assert desk.busy(two) == pytest.approx(24 * 0.032)
    assert desk.busy(each) == pytest.approx(24 * 16 * 0.004)
    assert fill(desk, Demand(company="depth"), one)[0] == 4  # 720 + 24 · 9 = 936 ms


def test_slower_ones_share_the_batches_of_the_quicker_ones() -> None:
    """Ten a second of four, fourteen more of two."""
    desk = admission(GPU, 24)
    live = [Demand(company="canny", fps=fps) for fps in (24.0, 10.0, 24.0, 10.0)]
    assert desk.busy(live) == pytest.approx(10 * 0.009 + 14 * 0.0055)


def test_nobody_is_refused_while_nothing_is_known_of_the_model() -> None:
    desk = Admission(CostModel((1,)), size=SIZE, fps=24)
    desk.check([PROMISED] * 30, PROMISED)


# Through the hub.

#: Seconds by batch size, and frames a second: four sessions take 800 ms of each second, a fifth would take 400 more.
SECONDS, FPS = {1: 0.04, 2: 0.05, 4: 0.08}, 10.0


def open_all(hub: Any, **options: Any) -> tuple[list[Any], NoFreePlace]:
    sessions = []
    while True:
        try:
            sessions.append(hub.open(None, **options))
        except NoFreePlace as refusal:
            return sessions, refusal


async def test_those_who_are_admitted_keep_their_rate_and_their_pictures_stay_young(make_hub: MakeHub) -> None:
    hub = await make_hub(NumberPainter(seconds=SECONDS), fps=FPS)
    sessions, refusal = open_all(hub)
    assert len(sessions) == 4
    assert "enough for 4 sessions at 10 frames/s" in str(refusal)
    viewers = [Viewer(session) for session in sessions]
    cameras = [Camera(session, fps=FPS) for session in sessions]
    try:
        for viewer in viewers:
            await viewer.until(lambda v: len(v.frames) >= 40, timeout=60)
    finally:
        for camera in cameras:
            camera.close()
    for camera, viewer in zip(cameras, viewers, strict=True):
        assert len(viewer.frames) > 0.7 * camera.sent, "nearly all that came"
        assert sorted(viewer.ages_ms)[len(viewer.ages_ms) // 2] < 400
    fewest, most = sorted(len(viewer.frames) for viewer in viewers)[:: len(viewers) - 1]
    assert most <= 1.5 * fewest, "fair"
    assert b"sdxs_live_sessions_refused_total 1.0" in hub.metrics()[0]


async def test_on_one_picture_at_a_time_the_first_is_admitted_however_slow_the_model(make_hub: MakeHub) -> None:
    hub = await make_hub(NumberPainter(seconds=0.3))
    sessions, refusal = open_all(hub)
    assert len(sessions) == 1
    assert f"not enough for a single session at {CPU_FPS:g} frames/s" in str(refusal)
    sessions[0].close("Done.")
    assert len(open_all(hub)[0]) == 1


async def test_there_is_a_hard_limit_however_quick_the_model_is(make_hub: MakeHub) -> None:
    sessions, refusal = open_all(await make_hub())
    assert len(sessions) == 32
    assert "All 32 places are taken" in str(refusal)


async def test_a_session_counts_as_promised_until_it_is_known_what_it_sends(make_hub: MakeHub) -> None:
    """40 ms at 10 frames a second: 400 ms of each second, twice. At two frames a second it is 80 ms."""
    hub = await make_hub(NumberPainter(seconds=0.04), fps=FPS)
    slow = hub.open("slow")
    assert len(open_all(hub)[0]) == 1
    hub.close(hub.sessions()[1].name, reason="Done.")
    with Camera(slow, fps=2):
        await until(lambda: slow.demand.fps is not None and slow.demand.fps < 4, timeout=4 * DEMAND_SECONDS)
        sessions, refusal = open_all(hub)
    assert len(sessions) == 2
    assert refusal.retry_after <= KNOWN_AFTER, "the two that are new"


async def test_a_still_scene_that_is_skipped_leaves_its_place(make_hub: MakeHub) -> None:
    hub = await make_hub(NumberPainter(seconds=0.04), fps=FPS)
    still = hub.open("still", settings={"skip_similar": 3})
    with Camera(still, fps=10, shows=lambda count: 7):
        await until(lambda: still.demand.fps is not None and still.demand.fps < 1, timeout=4 * DEMAND_SECONDS)
        assert len(open_all(hub)[0]) == 2


@pytest.mark.parametrize("mode", ["draw", "imagine"])
async def test_sessions_without_a_camera_are_admitted_the_same_way(mode: str) -> None:
    painter = NumberPainter(size=(256, 256), seconds=0.1, controls=("canny", "sketch"))
    app = app_of(painter, fps=8)
    async with webrtc.serve(app) as server:
        await ready(app)
        for status in (201, 503):
            async with server.http.post(server.url + "/api/sessions", json={"mode": mode}) as answer:
                body = await answer.json()
            assert answer.status == status
        assert "which is enough for 1 session at 8 frames/s" in body["detail"]
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        with pytest.raises(AssertionError, match=r"503.*enough for 1 session at 8 frames/s"):
            await webrtc.Publisher.start(server, "camera")


async def test_the_end_of_a_session_that_nobody_watches_is_when_to_try_again(make_hub: MakeHub) -> None:
    painter = NumberPainter(seconds=0.1)
    hub = await make_hub(painter, fps=8.0, patience=Patience(first=60.0, again=9.0))
    left = hub.open("left", mode="imagine", settings={"walk": "seeds"})
    viewer = Viewer(left)
    await until(lambda: left.demand.fps is not None and left.demand.fps > 4)
    viewer.leave()
    with pytest.raises(NoFreePlace) as caught:
        hub.open("other")
    assert 7 <= caught.value.retry_after <= 9
