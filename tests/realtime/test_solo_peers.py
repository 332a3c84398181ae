"""Sessions without a camera through the whole server: real HTTP, real WebRTC viewers; the model is a counting fake."""

from __future__ import annotations

import asyncio
import gc
import io
import threading
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from realtime.config import make
from realtime.easel import Patience
from realtime.serve import HUB, build
from tests import webrtc
from tests.realtime.fakes import NumberPainter, flat_conditioners

SQUARE = (256, 256)
#: Seconds that pictures may take on a machine that is busy with other things.
PATIENCE = 60.0
PNG = {"Content-Type": "image/png"}


def app_of(*, patience: Patience | None = None, controls: Any = ("canny", "sketch"), **options: Any) -> Any:
    painter = NumberPainter(size=SQUARE, seconds=0.005, controls=controls)
    return build(make(**options), painter, conditioners=flat_conditioners(), patience=patience)


async def post(server: webrtc.Server, **asked: Any) -> tuple[int, dict[str, Any]]:
    async with server.http.post(f"{server.url}/api/sessions", json=asked) as answer:
        return answer.status, await answer.json()


async def put_drawing(server: webrtc.Server, name: str, shade: int) -> int:
    data = io.BytesIO()
    Image.new("L", (300, 200), shade).save(data, "PNG")
    url = f"{server.url}/api/sessions/{name}/drawing"
    async with server.http.put(url, data=data.getvalue(), headers=PNG) as answer:
        assert answer.status == 200, await answer.text()
        return int((await answer.json())["id"])


def middle(seen: webrtc.Seen) -> list[int]:
    """(value of the map, seed, scale × 100) that painted it, give or take the codec."""
    return [int(value) for value in np.median(seen.image[64:192, 64:192].reshape(-1, 3), axis=0)]


def close_to(seen: webrtc.Seen, *wanted: int) -> bool:
    return all(abs(value - want) < 16 for value, want in zip(middle(seen), wanted, strict=True))


async def see_one_like(viewer: webrtc.Viewer, *wanted: int) -> None:
    await webrtc.eventually(
        lambda: viewer.seen and close_to(viewer.seen[-1], *wanted), f"a picture like {wanted}", PATIENCE
    )


async def test_a_drawing_is_watched_redrawn_and_left() -> None:
    app = app_of(patience=Patience(first=60.0, again=0.5))
    async with webrtc.serve(app) as server:
        await app[HUB].wait_ready()
        status, row = await post(server, mode="draw", name="me", settings={"seed": 40})
        assert (status, row["name"], row["mode"], row["settings"]["control"]) == (201, "me", "draw", "sketch")
        viewer = await webrtc.Viewer.start(server, "me")
        await see_one_like(viewer, 255, 40, 80)
        for shade in (0, 130):
            change = await put_drawing(server, "me", shade)
            event = await viewer.control.message(
                lambda message, change=change: message.get("type") == "visible" and message["id"] == change,
                f"change {change} becomes visible",
            )
            assert event["seq"] > 0
            await see_one_like(viewer, shade, 40, 80)
        await viewer.control.change(seed=200)
        await see_one_like(viewer, 130, 200, 80)
        await viewer.close()
        await webrtc.eventually(lambda: not app[HUB].sessions(), "the session that was left ends")
        async with server.http.get(f"{server.url}/api/sessions/me") as answer:
            assert answer.status == 404


async def test_a_late_viewer_of_a_picture_that_stands_still_sees_it_at_once() -> None:
    app = app_of()
    async with webrtc.serve(app) as server:
        await app[HUB].wait_ready()
        await post(server, mode="imagine", name="me", settings={"seed": 90})
        async with await webrtc.Viewer.start(server, "me") as first:
            await see_one_like(first, 0, 90, 100)
            painted = app[HUB].get("me").status()["frames_out"]
            for codec in ("VP8", "H264"):
                async with await webrtc.Viewer.start(server, "me", codec=codec) as late:
                    await see_one_like(late, 0, 90, 100)
                    await late.see(3, deadline=PATIENCE)
            await first.see(5, deadline=PATIENCE)
            assert app[HUB].get("me").status()["frames_out"] == painted == 1


async def test_an_endless_walk_changes_the_picture_all_the_time() -> None:
    app = app_of()
    async with webrtc.serve(app) as server:
        await app[HUB].wait_ready()
        await post(server, mode="imagine", name="me", settings={"walk": "seeds", "walk_seconds": 0.5, "seed": 50})
        async with await webrtc.Viewer.start(server, "me") as viewer:
            await webrtc.eventually(
                lambda: viewer.seen and middle(viewer.seen[-1])[1] > 64, "it has walked on by many seeds", PATIENCE
            )
            seeds = [middle(seen)[1] for seen in viewer.seen]
        assert seeds[0] < seeds[len(seeds) // 2] < seeds[-1]


async def test_ended_through_the_api_its_viewers_are_told() -> None:
    app = app_of()
    async with webrtc.serve(app) as server:
        await app[HUB].wait_ready()
        _, row = await post(server, mode="imagine")
        viewer = await webrtc.Viewer.start(server, row["name"])
        await viewer.see(2, deadline=PATIENCE)
        async with server.http.delete(f"{server.url}/whip/{row['name']}") as answer:
            assert answer.status == 404, "it has no publisher"
        async with server.http.delete(f"{server.url}/api/sessions/{row['name']}") as answer:
            assert answer.status == 204
        assert (await viewer.control.event("ended"))["reason"] == "The session was ended through the API."
        await webrtc.eventually(lambda: viewer.connection.connectionState == "closed", "the connection closes")
        await viewer.close()


async def test_the_stopping_server_ends_them_too() -> None:
    app = app_of()
    async with webrtc.serve(app) as server:
        await app[HUB].wait_ready()
        await post(server, mode="imagine", name="me", settings={"walk": "seeds"})
        viewer = await webrtc.Viewer.start(server, "me")
        await viewer.see(2, deadline=PATIENCE)
        await viewer.control.opened()
    assert {"type": "ended", "reason": "The server is stopping."} in viewer.control.messages
    await viewer.connection.close()


async def test_they_are_places_like_any_other() -> None:
    app = app_of(max_sessions=1)
    async with webrtc.serve(app) as server:
        await app[HUB].wait_ready()
        assert (await post(server, mode="imagine", name="me"))[0] == 201
        status, body = await post(server, mode="imagine")
        assert (status, "taken" in body["detail"]) == (503, True)
        status, body = await post(server, mode="imagine", name="me")
        assert (status, "'me'" in body["detail"]) == (409, True)
        with pytest.raises(AssertionError, match="503"):
            await webrtc.Publisher.start(server, "two")


async def test_where_the_model_has_no_sketch_control_drawing_is_refused_in_one_sentence() -> None:
    app = app_of(controls=("canny",))
    async with webrtc.serve(app) as server:
        status, body = await post(server, mode="draw")
        waits = body["detail"].startswith(("The model is still being loaded", "Warming up: "))
        assert (status, waits) in {(503, True), (400, False)}
        await app[HUB].wait_ready()
        status, body = await post(server, mode="draw")
        assert status == 400
        assert body["detail"] == (
            "This model can't paint from drawings, as it has no control 'sketch' (only canny); run another."
        )


async def test_a_camera_beside_them_takes_no_drawing_and_notices_nothing() -> None:
    app = app_of(copy_stamp=True)
    async with webrtc.serve(app) as server:
        await app[HUB].wait_ready()
        await post(server, mode="imagine", name="walk", settings={"walk": "seeds", "seed": 10, "walk_seconds": 600})
        async with (
            await webrtc.Publisher.start(server, "camera") as publisher,
            await webrtc.Viewer.start(server, "camera") as viewer,
            await webrtc.Viewer.start(server, "walk") as other,
        ):
            await publisher.control.change(seed=200)
            await asyncio.gather(viewer.see(5, PATIENCE), other.see(5, PATIENCE))
            async with server.http.put(f"{server.url}/api/sessions/camera/drawing", data=_png(), headers=PNG) as answer:
                assert (answer.status, (await answer.json())["title"]) == (409, "Not a drawing")
            seen = await viewer.see(20, PATIENCE)
            assert all(abs(middle(each)[1] - 200) < 16 for each in seen)
            counters = [each.stamp.counter for each in seen if each.stamp]
            assert counters == sorted(set(counters))
            assert all(abs(middle(each)[1] - 10) < 16 for each in other.seen[-5:])


def _png() -> bytes:
    data = io.BytesIO()
    Image.new("L", (8, 8)).save(data, "PNG")
    return data.getvalue()


@pytest.mark.slow
async def test_twenty_of_them_with_viewers_leave_nothing() -> None:
    app = app_of(patience=Patience(first=60.0, again=0.05))

    async def one_round(server: webrtc.Server, number: int) -> None:
        mode = ("draw", "imagine")[number % 2]
        _, row = await post(server, mode=mode, settings={"walk": "seeds"})
        viewer = await webrtc.Viewer.start(server, row["name"])
        await put_drawing(server, row["name"], 30)
        await viewer.see(3, PATIENCE)
        await viewer.close()
        await webrtc.eventually(lambda: not app[HUB].sessions(), "it ends when it is left")

    async with webrtc.serve(app) as server:
        await app[HUB].wait_ready()
        for number in range(3):
            await one_round(server, number)
        await asyncio.sleep(0)
        before = held()
        for number in range(20):
            await one_round(server, number)
        await webrtc.eventually(
            lambda: all(now <= was for now, was in zip(held(), before, strict=True)), f"no more than {before}"
        )


def held() -> tuple[int, int, int]:
    """Threads (but those of pools, which grow to a bound of their own), tasks and descriptors."""
    pools = ("asyncio_", "to-rgb", "prepare", "first map")
    gc.collect()
    threads = [thread for thread in threading.enumerate() if not thread.name.startswith(pools)]
    return len(threads), len(asyncio.all_tasks()), psutil.Process().num_fds()
