"""The whole server in one process: real HTTP, real WebRTC peers, the real hub; the model is a counting fake."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

import numpy as np
import pytest

from realtime.config import make
from realtime.errors import BadInput
from realtime.serve import HUB, build
from tests import webrtc
from tests.realtime.fakes import NumberPainter, flat_conditioners

SQUARE = (256, 256)
#: Seconds that pictures may take on a machine that is busy with other things.
PATIENCE = 60.0


def app_of(painter: NumberPainter | None = None, **options: Any) -> Any:
    config = make(copy_stamp=True, **options)
    return build(config, painter or NumberPainter(size=SQUARE), conditioners=flat_conditioners())


async def ready(app: Any) -> None:
    await asyncio.wait_for(app[HUB].wait_ready(), 15)


def colour(seen: webrtc.Seen) -> tuple[int, int]:
    """(green, blue) of the painted part: the seed and the scale × 100 that painted it, give or take the codec."""
    _, green, blue = np.median(seen.image[64:].reshape(-1, 3), axis=0)
    return int(green), int(blue)


def looks_like(seen: webrtc.Seen, seed: int, scale: float) -> bool:
    green, blue = colour(seen)
    return abs(green - seed) < 16 and abs(blue - 100 * scale) < 16


async def test_the_publisher_s_pictures_come_back_painted_in_order_and_young() -> None:
    app = app_of(NumberPainter(size=SQUARE, seconds=0.01))
    async with webrtc.serve(app) as server:
        await ready(app)
        async with (
            await webrtc.Publisher.start(server, "me") as publisher,
            await webrtc.Viewer.start(server, "me") as viewer,
        ):
            await publisher.control.change(seed=200, conditioning_scale=0.5)
            await viewer.see(5, deadline=PATIENCE)
            seen = await viewer.see(40, deadline=PATIENCE)
    counters = [each.stamp.counter for each in seen if each.stamp]
    assert len(counters) >= 36
    assert counters == sorted(set(counters)), "each picture once, in order"
    assert all(looks_like(each, 200, 0.5) for each in seen)
    assert np.median([each.age_ms for each in seen[20:] if each.age_ms is not None]) < 1000


async def test_a_change_over_http_is_told_to_the_publisher_with_the_frame_that_shows_it() -> None:
    app = app_of()
    async with webrtc.serve(app) as server:
        await ready(app)
        async with await webrtc.Publisher.start(server, "me") as publisher:
            async with server.http.patch(server.url + "/api/sessions/me/settings", json={"seed": 7}) as answer:
                body = await answer.json()
            assert (answer.status, body["id"], body["settings"]["seed"]) == (200, 1, 7)
            event = await publisher.control.event("visible")
            assert event["id"] == 1
            assert event["seq"] >= 0


async def test_three_publishers_get_their_own_pictures_and_one_that_vanishes_stops_nobody() -> None:
    app = app_of(NumberPainter(size=SQUARE, seconds=0.01))
    looks = {"a": (40, 0.2), "b": (120, 1.0), "c": (200, 2.0)}
    async with webrtc.serve(app) as server:
        await ready(app)
        publishers = {name: await webrtc.Publisher.start(server, name, fps=6) for name in looks}
        for name, (seed, scale) in looks.items():
            await publishers[name].control.change(seed=seed, conditioning_scale=scale)
        viewers = {name: await webrtc.Viewer.start(server, name) for name in looks}
        for viewer in viewers.values():
            await viewer.see(3, deadline=PATIENCE)
        batches = {name: await viewer.see(10, deadline=PATIENCE) for name, viewer in viewers.items()}
        for name, seen in batches.items():
            assert all(looks_like(each, *looks[name]) for each in seen), name
        await publishers["b"].vanish()
        for name in ("a", "c"):
            assert all(looks_like(each, *looks[name]) for each in await viewers[name].see(10, deadline=PATIENCE))
        await webrtc.eventually(lambda: {s.name for s in app[HUB].sessions()} == {"a", "c"}, "b is cleaned up")
        for client in [*viewers.values(), publishers["a"], publishers["c"]]:
            await client.close()


async def test_health_is_503_until_the_model_is_warm() -> None:
    may_load = threading.Event()

    class Slow(NumberPainter):
        def prepare(self, settings: Any) -> None:
            assert may_load.wait(20)

    app = app_of(Slow(size=SQUARE))
    async with webrtc.serve(app) as server:
        async with server.http.get(server.url + "/healthz") as answer:
            body = await answer.json()
        assert (answer.status, answer.content_type) == (503, "application/problem+json")
        assert re.fullmatch(r"The model is still being loaded; .*|Warming up: batch 1 of 1, 256×256 .*", body["detail"])
        assert answer.headers["Retry-After"] == "2"
        async with server.http.get(server.url + "/metrics") as answer:
            assert "sdxs_live_ready 0.0" in await answer.text()
        await webrtc.eventually(lambda: app[HUB].ready() == "Warming up: batch 1 of 1, 256×256 (step 1 of 1).", "told")
        may_load.set()
        await ready(app)
        async with server.http.get(server.url + "/healthz") as answer:
            assert answer.status == 200


async def test_the_pace_is_set_over_http_and_on_the_data_channel_and_told() -> None:
    app = app_of(NumberPainter(size=SQUARE, smaller=[(192, 192), (128, 128)]))
    async with webrtc.serve(app) as server:
        await ready(app)
        async with await webrtc.Publisher.start(server, "me") as publisher:
            settings = server.url + "/api/sessions/me/settings"
            async with server.http.patch(settings, json={"skip_similar": 3.5, "latency_target": 150}) as answer:
                body = await answer.json()
            assert (body["settings"]["skip_similar"], body["settings"]["latency_target"]) == (3.5, 150)
            async with server.http.get(server.url + "/api/sessions/me") as answer:
                row = await answer.json()
            assert row["governor"] == {"level": 0, "of": 4, "doing": "painting everything in full"}
            assert row["frames_skipped"] >= 0
            async with server.http.patch(settings, json={"latency_target": 20}) as answer:
                problem = await answer.json()
            assert (answer.status, "give 50 to 5000 ms, or 0" in problem["detail"]) == (400, True)
            stats = await publisher.control.message(
                lambda event: event["type"] == "stats" and event["governor"], "the governor in the statistics"
            )
            assert stats["settings"]["latency_target"] == 150
            await publisher.control.change(skip_similar=0, latency_target=0)
            await webrtc.eventually(lambda: app[HUB].get("me").status()["governor"] is None, "the governor goes")


async def test_a_full_house_is_503_with_a_sentence() -> None:
    app = app_of(max_sessions=1)
    async with webrtc.serve(app) as server:
        await ready(app)
        async with await webrtc.Publisher.start(server, "one"):
            with pytest.raises(AssertionError, match=r"503.*(place is|places are) taken"):
                await webrtc.Publisher.start(server, "two")


async def test_a_stopping_server_tells_its_clients_why() -> None:
    app = app_of()
    async with webrtc.serve(app) as server:
        await ready(app)
        publisher = await webrtc.Publisher.start(server, "me")
        await publisher.control.opened()
        await publisher.control.event("stats")
    assert {"type": "ended", "reason": "The server is stopping."} in publisher.control.messages
    await publisher.connection.close()


async def test_the_application_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    app = app_of()
    async with webrtc.serve(app) as server:
        await ready(app)
        async with (
            await webrtc.Publisher.start(server, "me"),
            await webrtc.Viewer.start(server, "me") as viewer,
        ):
            await viewer.see(3, deadline=PATIENCE)

    def ours() -> list[str]:
        names = ("inference", "prepare", "capture", "to-rgb")
        return [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith(names)]

    await webrtc.eventually(lambda: not ours(), "all our threads end")


async def test_a_control_that_the_model_lacks_is_said() -> None:
    app = app_of(control="depth")
    async with webrtc.serve(app):
        with pytest.raises(BadInput, match="no control 'depth'; it has canny, none"):
            await app[HUB].wait_ready()
