"""Sessions without a camera: they feed themselves, show what was drawn or imagined, and end when nobody watches."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.album import ENTERS, Album
from pipelines.condition import Conditioner, ConditionMap
from pipelines.settings import Kind, Settings
from realtime.easel import FRAME_SECONDS, Patience
from realtime.hub import Hub
from realtime.model import wrap
from realtime.scheduler import MAX_FAILURES
from realtime.session import Session
from streaming.errors import BadRequest, NoFreePlace, NotADrawing
from tests.pipelines.test_album import a_subject
from tests.realtime.conftest import MakeHub
from tests.realtime.fakes import (
    SIZE,
    Camera,
    FlatConditioner,
    NumberPainter,
    Viewer,
    flat_conditioners,
    numbered,
    until,
)

CONTROLS: tuple[Kind, ...] = ("canny", "sketch")
PATIENT = Patience(first=60.0, again=60.0)


def painter(**options: Any) -> NumberPainter:
    return NumberPainter(controls=CONTROLS, **options)


def drawing(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    return np.full((*size, 3), number, np.uint8)


def settled(session: Any) -> bool:
    row = session.status()
    return bool(row["frames_in"] == row["frames_out"] + row["frames_dropped"])


def shown(viewer: Viewer) -> int:
    """The value of the drawing that the last picture was painted from."""
    return int(viewer.frames[-1].image[0, 0, 0])


async def test_a_drawing_is_painted_at_once_and_the_event_names_the_picture(make_hub: MakeHub) -> None:
    session = (await make_hub(painter())).open("one", mode="draw")
    settings = session.settings()
    assert (settings["control"], settings["sketch_detector"], settings["conditioning_scale"]) == (
        "sketch",
        "drawn",
        0.8,
    )
    viewer = Viewer(session)
    await viewer.until(lambda v: v.frames)
    assert viewer.frames[0].image[0, 0].tolist() == [255, 0, 80], "white paper"
    for number in (10, 20, 30):
        change = session.draw(drawing(number))["id"]
        await viewer.until(
            lambda v, change=change: v.of_type("visible")[-1:] and v.of_type("visible")[-1]["id"] == change
        )
        first = viewer.of_type("visible")[-1]["seq"]
        for frame in viewer.frames:
            assert (frame.seq >= first) == (int(frame.image[0, 0, 0]) == number)
    row = session.status()
    assert (row["mode"], row["state"], row["condition_age_ms"]) == ("draw", "live", None)
    await until(lambda: settled(session))


async def test_without_a_change_nothing_is_painted_but_the_picture_is_shown_again(make_hub: MakeHub) -> None:
    model = painter()
    session = (await make_hub(model)).open("one", mode="imagine", settings={"seed": 7})
    await until(lambda: session.status()["frames_out"] == 1)
    viewer = Viewer(session)
    await viewer.until(lambda v: len(v.frames) >= 5)
    late = Viewer(session)
    await late.until(lambda v: v.frames)
    assert model.forwards[-2:] == [[0], [7]], "one for warming up, one for the session"
    frames = viewer.frames
    assert all(frame.image[0, 0].tolist() == [0, 7, 100] for frame in (*frames, *late.frames))
    for times in ("seq", "pts", "captured_ns"):
        values = [getattr(frame, times) for frame in frames]
        assert values == sorted(set(values)), f"{times} rises"
    row = session.status()
    assert (row["frames_in"], row["frames_out"], row["frames_dropped"]) == (1, 1, 0), "shown again is not painted"


async def test_every_setting_may_be_changed_and_becomes_visible(make_hub: MakeHub) -> None:
    model = painter()
    session = (await make_hub(model)).open("one", mode="imagine")
    viewer = Viewer(session)
    assert session.change({"seed": 9})["id"] == 1
    await viewer.until(lambda v: v.of_type("visible"))
    assert viewer.frames[-1].image[0, 0].tolist() == [0, 9, 100]
    session.change({"control": "canny"})
    await viewer.until(lambda v: len(v.of_type("visible")) == 2)
    assert shown(viewer) == 255
    session.draw(drawing(44))
    await viewer.until(lambda v: len(v.of_type("visible")) == 3)
    assert shown(viewer) == 44


async def test_strokes_faster_than_the_model_are_painted_together_and_none_is_lost(make_hub: MakeHub) -> None:
    model = painter(seconds=0.1)
    session = (await make_hub(model)).open("one", mode="draw")
    viewer = Viewer(session)
    await viewer.until(lambda v: v.frames)
    before = len(model.forwards)
    for number in range(1, 61):
        assert session.draw(drawing(number))["id"] == number
        await asyncio.sleep(0.005)  # a hand that moves
    await viewer.until(lambda v: len(v.of_type("visible")) == 60)
    assert [event["id"] for event in viewer.of_type("visible")] == list(range(1, 61))
    assert shown(viewer) == 60
    assert len(model.forwards) - before < 30
    await until(lambda: settled(session))


async def test_a_drawing_of_another_shape_is_kept_whole_on_white(make_hub: MakeHub) -> None:
    class Seen(NumberPainter):
        maps: NDArray[np.uint8]

        def paint_uint8(
            self, maps: Any, settings: Sequence[Settings], colours: Any = None, *, form: Any = "rgb"
        ) -> Any:
            self.maps = maps.numpy().copy()
            return super().paint_uint8(maps, settings, colours, form=form)

    model = Seen(controls=CONTROLS)
    session = (await make_hub(model)).open("one", mode="draw")
    viewer = Viewer(session)
    session.draw(drawing(0, (400, 200)))
    await viewer.until(lambda v: v.of_type("visible"))
    row = model.maps[0, 0, 0].tolist()
    assert row == [255] * 6 + [0] * 4 + [255] * 6
    assert (model.maps[0, 0] == row).all()


async def test_a_walk_is_capped(make_hub: MakeHub) -> None:
    session = (await make_hub(painter())).open("one", mode="imagine", settings={"walk": "seeds"})
    viewer = Viewer(session)
    await viewer.until(lambda v: len(v.frames) >= 40)
    begun = [frame.captured_ns for frame in viewer.frames[5:]]
    assert (begun[-1] - begun[0]) / 1e9 / (len(begun) - 1) > 0.9 * FRAME_SECONDS


async def test_a_slow_model_finds_the_next_frame_of_a_walk_waiting_and_no_more(make_hub: MakeHub) -> None:
    """At 30 frames a second, as a camera's come, two of three would be dropped here."""
    session = (await make_hub(painter(seconds=0.1))).open("one", mode="imagine", settings={"walk": "seeds"})
    viewer = Viewer(session)
    await viewer.until(lambda v: len(v.frames) >= 20)
    row = session.status()
    assert row["frames_dropped"] < row["frames_out"] / 4
    assert row["frames_in"] - row["frames_out"] - row["frames_dropped"] <= 3
    assert sorted(viewer.ages_ms)[len(viewer.ages_ms) // 2] < 1000


async def test_nobody_watches_so_a_walk_rests(make_hub: MakeHub) -> None:
    model = painter()
    session = (await make_hub(model, patience=PATIENT)).open("one", mode="imagine", settings={"walk": "seeds"})
    await until(lambda: session.status()["frames_out"] == 1)
    viewer = Viewer(session)
    await viewer.until(lambda v: len(v.frames) >= 10)
    viewer.leave()
    await until(lambda: settled(session))
    before = len(model.forwards)
    await asyncio.sleep(5 * FRAME_SECONDS)  # the rest is the thing measured
    assert len(model.forwards) == before
    session.change({"prompt": "chalk"})  # who listens is still told
    await viewer.until(lambda v: v.of_type("visible"))
    again = Viewer(session)
    await again.until(lambda v: len(v.frames) >= 10)


async def test_it_ends_when_nobody_comes(make_hub: MakeHub) -> None:
    hub = await make_hub(painter(), patience=Patience(first=0.2, again=60.0))
    events: list[dict[str, Any]] = []
    hub.open("one", mode="draw").listen(events.append)
    await until(lambda: not hub.sessions())
    assert events[-1] == {"type": "ended", "reason": "Nobody has watched for 0.2 s."}


async def test_it_ends_some_time_after_the_last_viewer_left(make_hub: MakeHub) -> None:
    hub = await make_hub(painter(), patience=Patience(first=60.0, again=0.3))
    session = hub.open("one", mode="imagine")
    one, two = Viewer(session), Viewer(session)
    one.leave()
    one.leave()
    two.leave()
    back = Viewer(session)  # in time
    await back.until(lambda v: len(v.frames) >= 4)
    assert hub.sessions() == [session]
    left = time.monotonic()
    back.leave()
    await back.until(lambda v: v.of_type("ended"))
    assert time.monotonic() - left >= 0.3
    assert back.of_type("ended")[0]["reason"] == "Nobody has watched for 0.3 s."
    assert not hub.sessions()


async def test_a_camera_s_session_does_not_end_for_want_of_viewers(make_hub: MakeHub) -> None:
    hub = await make_hub(painter(), patience=Patience(first=0.05, again=0.05))
    camera, solo = hub.open("camera"), hub.open("solo", mode="imagine")
    await until(lambda: solo.ended)
    assert not camera.ended


async def test_an_ended_one_does_nothing_any_more(make_hub: MakeHub) -> None:
    hub = await make_hub(painter())
    session = hub.open("one", mode="imagine", settings={"walk": "seeds"})
    viewer = Viewer(session)
    await viewer.until(lambda v: len(v.frames) >= 3)
    hub.close("one", reason="Enough.")
    seen = len(viewer.frames)
    viewer.leave()
    session.change({"seed": 4})
    session.draw(drawing(3))
    await asyncio.sleep(5 * FRAME_SECONDS)  # time for a frame that must not come
    assert len(viewer.frames) == seen
    assert viewer.events[-1] == {"type": "ended", "reason": "Enough."}


async def test_a_camera_s_session_takes_no_drawing(make_hub: MakeHub) -> None:
    with pytest.raises(NotADrawing, match="'one' paints a camera's pictures"):
        (await make_hub(painter())).open("one").draw(drawing(1))


@pytest.mark.parametrize(
    ("mode", "settings", "says"),
    [
        ("paint", None, "no mode 'paint'"),
        ("imagine", [], "a list"),
        ("imagine", {"seed": -1}, "seed is -1"),
        ("imagine", {"control": "depth"}, "no control 'depth'"),
        ("draw", {"lora": "anime"}, "no LoRA 'anime'"),
    ],
)
async def test_what_cannot_be_opened_takes_no_place(make_hub: MakeHub, mode: str, settings: object, says: str) -> None:
    hub = await make_hub(painter(), max_sessions=1)
    with pytest.raises(BadRequest, match=says):
        hub.open("one", mode=mode, settings=settings)
    assert not hub.sessions()
    hub.open("one", mode="draw")
    with pytest.raises(NoFreePlace):
        hub.open("two")


@pytest.mark.parametrize(("controls", "says"), [(("canny",), "only canny"), ((), "none at all")])
async def test_drawing_needs_a_model_with_sketch_control(
    make_hub: MakeHub, controls: tuple[Kind, ...], says: str
) -> None:
    hub = await make_hub(NumberPainter(controls=controls))
    with pytest.raises(BadRequest, match=rf"no control 'sketch' \({says}\)"):
        hub.open("one", mode="draw")
    assert hub.open("two", mode="imagine").settings()["control"] == "none"


async def test_a_model_that_fails_once_paints_the_picture_after_all(make_hub: MakeHub) -> None:
    failures = iter([True])

    def once(settings: Sequence[Settings]) -> None:
        if settings[0].seed == 5 and next(failures, False):
            raise RuntimeError("out of order")

    session = (await make_hub(painter(spoil=once))).open("one", mode="imagine")
    viewer = Viewer(session)
    session.change({"seed": 5})
    await viewer.until(lambda v: v.of_type("visible"))
    assert int(viewer.frames[-1].image[0, 0, 1]) == 5
    assert session.status()["frames_dropped"] == 1


async def test_a_model_that_always_fails_ends_the_session_with_the_reason(make_hub: MakeHub) -> None:
    tries = 0

    def spoil(settings: Sequence[Settings]) -> None:
        nonlocal tries
        if settings[0].seed == 5:
            tries += 1
            raise RuntimeError("seed 5")

    hub = await make_hub(painter(spoil=spoil))
    viewer = Viewer(hub.open("one", mode="imagine", settings={"seed": 5}))
    await viewer.until(lambda v: v.of_type("ended"))
    assert viewer.of_type("ended")[0]["reason"].endswith("seed 5")
    assert tries == MAX_FAILURES


class SlowConditioner(FlatConditioner):
    """A network: drawn beside the frames. Each map waits for ``gate``."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.gate = threading.Event()
        self.gate.set()
        self.drawn = 0

    def is_slow(self, settings: Settings) -> bool:
        return True

    def drawer(self) -> SlowConditioner:
        return self

    def __call__(self, image: NDArray[np.uint8], settings: Settings) -> ConditionMap:
        assert self.gate.wait(20)
        self.drawn += 1
        return super().__call__(image, settings)


async def hub_with(conditioner: Conditioner, model: NumberPainter) -> Hub:
    hub = Hub(lambda: wrap(model, {**flat_conditioners(), conditioner.kind: conditioner}, control="canny"))
    hub.start()
    await hub.wait_ready()
    return hub


async def test_a_change_is_visible_when_a_slow_map_shows_it_and_not_before(make_hub: MakeHub) -> None:
    slow = SlowConditioner("sketch")
    hub = await hub_with(slow, painter())
    session = hub.open("one", mode="draw", settings={"depth_every": 3})
    viewer = Viewer(session)
    await viewer.until(lambda v: v.frames)
    slow.gate.clear()
    session.draw(drawing(90))
    seen = len(viewer.frames)
    await viewer.until(lambda v: len(v.frames) > seen + 5)
    assert not viewer.of_type("visible"), "these still show the old map"
    assert shown(viewer) == 255
    slow.gate.set()
    await viewer.until(lambda v: v.of_type("visible"))
    assert viewer.of_type("visible")[0]["seq"] == next(f.seq for f in viewer.frames if f.image[0, 0, 0] == 90)
    assert session.status()["condition_age_ms"] >= 0
    assert b"sdxs_live_condition_age_seconds_count" in hub.metrics()[0]
    painted = session.status()["frames_out"]
    await viewer.until(lambda v: len(v.frames) > seen + 20)
    assert session.status()["frames_out"] <= painted + 2, "once it is there, nothing is painted any more"
    assert await hub.aclose()


async def test_who_waits_for_a_first_map_keeps_nobody_else_waiting_and_can_be_ended(make_hub: MakeHub) -> None:
    slow = SlowConditioner("sketch")
    slow.gate.clear()
    hub = await hub_with(slow, painter())
    waiting = [hub.open(f"w{index}", mode="draw") for index in range(3)]
    camera = hub.open("camera")
    viewer = Viewer(camera)
    with Camera(camera, fps=60):
        await viewer.until(lambda v: len(v.frames) >= 10)
    assert [session.status()["frames_out"] for session in waiting] == [0, 0, 0]
    hub.close("w0", reason="Enough.")
    await until(lambda: waiting[0].status()["frames_dropped"] == 1)
    slow.gate.set()
    for session in waiting[1:]:
        await until(lambda session=session: session.status()["frames_out"])
    assert await hub.aclose()


async def test_twenty_of_them_coming_and_going_leave_nothing_behind(make_hub: MakeHub) -> None:
    hub = await make_hub(painter(), patience=Patience(first=60.0, again=0.01))
    alive: weakref.WeakSet[Session] = weakref.WeakSet()

    async def come_and_go(number: int) -> None:
        session = hub.open(None, mode=("draw", "imagine")[number % 2], settings={"walk": "seeds"})
        alive.add(session)
        viewer = Viewer(session)
        session.draw(drawing(number))
        await viewer.until(lambda v: len(v.frames) >= 3)
        if number % 3:
            session.close("Done.")
        else:
            viewer.leave()
            await viewer.until(lambda v: v.of_type("ended"))

    def held() -> tuple[int, int, int]:
        gc.collect()
        # The pool grows to its bound when it happens to be busy.
        threads = [thread for thread in threading.enumerate() if not thread.name.startswith("prepare")]
        return len(threads), len(asyncio.all_tasks()), len(alive)

    for number in range(3):
        await come_and_go(number)
    await until(lambda: held()[2] == 0)
    before = held()
    for number in range(20):
        await come_and_go(number)
    await until(lambda: held() == before, timeout=30)


async def test_camera_and_imagined_pictures_do_not_cross(make_hub: MakeHub) -> None:
    hub = await make_hub(painter(seconds=0.002))
    imagined = Viewer(hub.open("imagined", mode="imagine", settings={"walk": "seeds", "seed": 200, "walk_seconds": 60}))
    session = hub.open("camera")
    session.change({"seed": 50})
    camera = Viewer(session)
    for number in range(40):
        session.push(numbered(number))
        await camera.until(lambda v, number=number: v.frames and v.frames[-1].seq == number)
    await imagined.until(lambda v: len(v.frames) >= 10)
    assert all(frame.image[0, 0].tolist() == [frame.seq, 50, 100] for frame in camera.frames)
    assert all(frame.image[0, 0].tolist() == [0, 200, 100] for frame in imagined.frames)


def with_album(**options: Any) -> NumberPainter:
    model = painter(size=(64, 64), **options)
    model.album = Album([a_subject("fox"), a_subject("bus")])
    return model


async def test_what_is_imagined_is_looked_up_and_follows_its_words(make_hub: MakeHub) -> None:
    model = with_album()
    session = (await make_hub(model)).open("one", mode="imagine", settings={"prompt": "a fox, ink", "seed": 4})
    viewer = Viewer(session)
    await viewer.until(lambda v: v.frames)
    used, colours = model.painted[-1][0], model.colours[-1]
    assert (used.kinds, used.init_strength, used.seed) == (("canny",), ENTERS, 4)
    assert colours is not None
    assert colours.shape == (1, 16, 16, 3)
    assert session.settings()["control"] == "none", "what was asked for stays what it was"
    change = session.change({"prompt": "a meadow"})["id"]
    await viewer.until(lambda v: [event["id"] for event in v.of_type("visible")] == [change])
    assert model.painted[-1][0].kinds == ()
    assert model.colours[-1] is None
    session.change({"prompt": "two buses", "walk": "seeds"})
    await viewer.until(lambda v: model.painted[-1][0].seed_blend > 0)
    assert model.painted[-1][0].kinds == ("canny",)


async def test_only_what_is_imagined_is_looked_up(make_hub: MakeHub) -> None:
    model = with_album()
    hub = await make_hub(model)
    drawn = hub.open("drawn", mode="draw", settings={"prompt": "a fox"})
    viewer = Viewer(drawn)
    await viewer.until(lambda v: v.frames)
    assert model.painted[-1][0].kinds == ("sketch",)
    drawn.change({"control": "none"})
    await viewer.until(lambda v: v.of_type("visible"))
    assert model.painted[-1][0].kinds == ()


async def test_what_is_looked_up_is_reckoned_as_what_it_costs(make_hub: MakeHub) -> None:
    hub = await make_hub(with_album())
    known, unknown = (hub.open(name, mode="imagine", settings={"prompt": name}) for name in ("fox", "meadow"))
    assert known.demand.company != unknown.demand.company
    known.change({"prompt": "hills"})
    assert known.demand.company == unknown.demand.company
