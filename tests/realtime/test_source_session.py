"""``--source``: a local source painted as the session ``live``."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from realtime.capture import Capture
from realtime.config import make
from realtime.errors import BadInput
from realtime.serve import HUB, build
from streaming.errors import SourceError
from streaming.frame import Frame
from tests import webrtc
from tests.realtime.conftest import MakeHub
from tests.realtime.fakes import NumberPainter, Viewer, flat_conditioners, until

SQUARE = (256, 256)


def app_for(source: str, **options: Any) -> Any:
    return build(make(source=source, **options), NumberPainter(size=SQUARE), conditioners=flat_conditioners())


async def live_session(app: Any) -> Any:
    await until(lambda: app[HUB].sessions())
    return app[HUB].get("live")


async def test_the_source_is_painted_and_a_browser_may_watch_it_and_publish_beside_it() -> None:
    app = app_for("test:stamp", copy_stamp=True)
    async with webrtc.serve(app) as server:
        await live_session(app)
        async with (
            await webrtc.Viewer.start(server, "live") as viewer,
            await webrtc.Publisher.start(server, "me") as publisher,
        ):
            seen = await viewer.see(20, deadline=60)
            assert publisher.name == "me"
    counters = [each.stamp.counter for each in seen if each.stamp]
    assert len(counters) > 10
    assert counters == sorted(set(counters))


async def test_ending_the_session_lets_the_source_go() -> None:
    app = app_for("test:")
    async with webrtc.serve(app) as server:
        viewer = Viewer(await live_session(app))
        await viewer.until(lambda v: v.frames)
        async with server.http.delete(server.url + "/api/sessions/live") as answer:
            assert answer.status == 204
        await until(lambda: not _capture_threads())
        assert "through the API" in viewer.of_type("ended")[0]["reason"]


class TornTape:
    name = "tape"
    closed = False

    def read(self) -> Frame | None:
        raise SourceError("tape is torn.")

    def close(self) -> None:
        self.closed = True


async def test_a_source_that_breaks_off_ends_its_session_with_the_reason(make_hub: MakeHub) -> None:
    session, source = (await make_hub()).open("live"), TornTape()
    viewer = Viewer(session)
    Capture(source, session)
    await viewer.until(lambda v: v.of_type("ended"))
    assert viewer.of_type("ended")[0]["reason"] == "tape is torn."
    assert source.closed


@pytest.mark.parametrize("source", ["nowhere.mp4", "ftp://example.org/x", "camera:99"])
async def test_a_source_that_is_not_there_stops_the_start(source: str) -> None:
    app = app_for(source)
    with pytest.raises(BadInput):
        async with webrtc.serve(app):
            pass


async def test_a_stop_while_the_model_is_being_loaded_closes_the_source(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width = stream.height = 64
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        container.mux(stream.encode())
    app = app_for(str(clip))
    async with webrtc.serve(app):
        pass
    await asyncio.sleep(0)
    assert not _capture_threads()


def _capture_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "capture"]
