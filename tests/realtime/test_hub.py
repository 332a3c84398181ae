from __future__ import annotations

import asyncio
import gc
import os
import re
import threading
import weakref
from pathlib import Path

import psutil
import pytest

from realtime.hub import Hub
from realtime.model import Model
from realtime.session import Session
from streaming.errors import BadRequest, NameTaken, NoFreePlace, NoSuchSession
from tests.realtime.conftest import MakeHub
from tests.realtime.fakes import Camera, NumberPainter, Viewer, model_of, numbered, until


async def test_sessions_are_found_by_their_name_until_they_are_closed(make_hub: MakeHub) -> None:
    hub = await make_hub()
    session = hub.open("mine")
    assert hub.get("mine") is session
    hub.close("mine", reason="Done.")
    hub.close("mine", reason="Done.")
    with pytest.raises(NoSuchSession):
        hub.get("mine")
    assert hub.open("mine") is not session


async def test_fresh_names_fit_and_differ(make_hub: MakeHub) -> None:
    hub = await make_hub(max_sessions=100)
    names = {hub.open(None).name for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch(r"[a-z]+-[a-z]+-[0-9a-f]{12}", name) for name in names)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "x" * 65, "a\n", "../etc"])
async def test_a_name_that_cannot_be_one_is_refused(make_hub: MakeHub, name: str) -> None:
    with pytest.raises(BadRequest, match="1 to 64"):
        (await make_hub()).open(name)


async def test_a_taken_name_and_a_full_house_are_different_answers(make_hub: MakeHub) -> None:
    hub = await make_hub(max_sessions=2)
    hub.open("one")
    with pytest.raises(NameTaken, match="'one'"):
        hub.open("one")
    hub.open("two")
    with pytest.raises(NoFreePlace, match="All 2 places"):
        hub.open("three")
    hub.close("one", reason="Done.")
    assert hub.open("three").name == "three"


async def test_nobody_is_admitted_before_the_model_is_there() -> None:
    may_load = threading.Event()

    def load() -> Model:
        assert may_load.wait(20)
        return model_of(NumberPainter())

    hub = Hub(load)
    hub.start()
    try:
        assert "being loaded" in (hub.ready() or "")
        with pytest.raises(NoFreePlace, match="being loaded"):
            hub.open("early")
        with pytest.raises(NoFreePlace, match="being loaded"):
            hub.about()
        assert b"sdxs_live_ready 0.0" in hub.metrics()[0]
        may_load.set()
        await hub.wait_ready()
        assert hub.ready() is None
        assert b"sdxs_live_ready 1.0" in hub.metrics()[0]
        hub.open("early")
    finally:
        assert await hub.aclose()


async def test_about_says_what_runs(make_hub: MakeHub) -> None:
    about = (await make_hub()).about()
    assert about["defaults"].pop("prompt") == "ink"
    assert {key: about[key] for key in about if key != "defaults"} == {
        "model": "numbers",
        "note": "",
        "backend": "fake",
        "device": "cpu",
        "size": [8, 16],
        "dtype": "fp32",
        "controls": ["canny"],
        "loras": [],
        "subjects": [],
        "styles": [{"name": "Ink", "prompt": "ink"}],
    }


async def test_a_model_that_cannot_be_loaded_is_said() -> None:
    def load() -> Model:
        raise RuntimeError("weights.safetensors is missing.")

    hub = Hub(load)
    hub.start()
    with pytest.raises(RuntimeError, match="is missing"):
        await hub.wait_ready()
    assert "weights.safetensors is missing." in (hub.ready() or "")
    assert await hub.aclose()


async def test_closing_the_hub_ends_every_session_and_may_be_done_twice(make_hub: MakeHub) -> None:
    hub = await make_hub()
    viewers = [Viewer(hub.open(None)) for _ in range(2)]
    with Camera(hub.sessions()[0]):
        await viewers[0].until(lambda v: v.frames)
        assert await hub.aclose()
    assert await hub.aclose()
    for viewer in viewers:
        assert viewer.of_type("ended") == [{"type": "ended", "reason": "The server is stopping."}]
    with pytest.raises(NoFreePlace, match="stopping"):
        hub.open("late")


async def test_the_metrics_page_counts_and_names_no_session(make_hub: MakeHub) -> None:
    hub = await make_hub()
    session = hub.open("secret-name")
    viewer = Viewer(session)
    for number in range(3):
        session.push(numbered(number))
        await viewer.until(lambda v, number=number: len(v.frames) == number + 1)
    text, content_type = hub.metrics()
    lines = text.decode().splitlines()
    for line in (
        "sdxs_live_frames_in_total 3.0",
        "sdxs_live_frames_out_total 3.0",
        "sdxs_live_frames_dropped_total 0.0",
        "sdxs_live_failures_total 0.0",
        "sdxs_live_latency_seconds_count 3.0",
        "sdxs_live_model_seconds_count 3.0",
        "sdxs_live_sessions 1.0",
        "sdxs_live_viewers 1.0",
    ):
        assert line in lines
    assert content_type.startswith("text/plain")
    assert b"secret-name" not in text
    hub.close("secret-name", reason="Done.")
    assert b"sdxs_live_sessions 0.0" in hub.metrics()[0]


async def test_fifty_sessions_coming_and_going_leave_nothing_behind(make_hub: MakeHub) -> None:
    hub = await make_hub()
    alive: weakref.WeakSet[Session] = weakref.WeakSet()

    async def come_and_go() -> None:
        session = hub.open(None)
        alive.add(session)
        viewer = Viewer(session)
        with Camera(session, fps=200):
            await viewer.until(lambda v: len(v.frames) >= 2)
        session.close("Done.")

    def held() -> tuple[int, int, int]:
        gc.collect()
        return threading.active_count(), _descriptors(), len(alive)

    for _ in range(3):
        await come_and_go()
    await until(lambda: held()[2] == 0)
    before = held()
    for _ in range(50):
        await come_and_go()
    await until(lambda: held() == before)


def _descriptors() -> int:
    proc = Path(f"/proc/{os.getpid()}/fd")
    return len(list(proc.iterdir())) if proc.exists() else psutil.Process().num_fds()


async def test_waiting_for_the_model_can_be_given_up_without_harm() -> None:
    may_load = threading.Event()

    def load() -> Model:
        assert may_load.wait(20)
        return model_of(NumberPainter())

    hub = Hub(load)
    hub.start()
    waiting = asyncio.ensure_future(hub.wait_ready())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    may_load.set()
    await hub.wait_ready()
    assert await hub.aclose()
