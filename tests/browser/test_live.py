"""A real Chromium, the real page, the real server and model: a webcam comes back painted."""

from __future__ import annotations

import asyncio
import inspect
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from pipelines import SDXSPipeline
from realtime.bench.browser import chromium
from realtime.bench.e2e import in_order, script
from streaming.frame import Frame
from tests.browser.clips import stamped_clip
from tests.browser.live import SlowPipeline, live_server

pytestmark = pytest.mark.browser

#: Keeps the counter of every picture that #output shows, and its mean colour.
WATCH = """async () => {
    const { readStamp } = await import("/static/stamp.js");
    const video = document.querySelector("#output");
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d", { willReadFrequently: true });
    window.shown = [];
    const look = () => {
        [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
        context.drawImage(video, 0, 0);
        const rows = Math.max(8, Math.floor(canvas.width / 32));
        const stamp = readStamp(context.getImageData(0, 0, canvas.width, rows));
        const body = context.getImageData(0, 32, canvas.width, canvas.height - 32).data;
        let sum = [0, 0, 0];
        for (let i = 0; i < body.length; i += 4) for (let c = 0; c < 3; c++) sum[c] += body[i + c];
        const mean = sum.map((value) => (value * 4) / body.length);
        window.shown.push({ counter: stamp ? stamp.counter : null, mean });
        video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
}"""


@pytest.fixture(scope="module")
def pipe() -> SDXSPipeline:
    return SDXSPipeline.from_pretrained("embedded", device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = stamped_clip(tmp_path_factory.mktemp("clip") / "camera.y4m")
    yield path
    path.unlink()


async def until(page: Page, expression: str, seconds: float = 30.0) -> Any:
    """The first truthy value of a JavaScript expression. Fails after ``seconds`` saying what the page says."""
    try:
        handle = await page.wait_for_function(expression, timeout=seconds * 1000, polling=50)
    except Exception as error:
        status = await page.inner_text("#status")
        raise AssertionError(f"{expression} did not come true; the page says {status!r}") from error
    return await handle.json_value()


async def start(page: Page) -> None:
    await page.click("#start")
    await until(page, "document.querySelector('#output').videoWidth > 0")


async def test_a_webcam_comes_back_painted(pipe: SDXSPipeline, clip: Path) -> None:
    async with live_server(pipe, copy_stamp=True) as (url, hub), chromium(camera=clip) as browser:
        page = await browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(url)
        await start(page)
        await page.evaluate(WATCH)

        # Painted frames come back, in order, with new content.
        await until(page, "window.shown.filter(each => each.counter !== null).length >= 40")
        counters = [each["counter"] for each in await page.evaluate("window.shown") if each["counter"] is not None]
        steps = [(after - before) % 90 for before, after in pairwise(counters)]
        # One picture may be read twice: it is drawn when the page gets to it, and may be the next callback's by then.
        assert all(0 <= step < 45 for step in steps), counters
        assert len(set(counters)) >= 20

        # A prompt change becomes visible, and its event names the frame that first showed it.
        (session,) = hub.sessions()
        painted: list[Frame] = []
        unsubscribe = session.subscribe(painted.append)
        await eventually(lambda: len(painted) > 0)
        plain = await page.evaluate("window.shown.at(-1).mean")
        style = next(each for each in hub.about()["styles"] if each["name"] == "Blueprint")
        await page.fill("#prompt", style["prompt"])
        await page.press("#prompt", "Enter")
        seq = int(await until(page, "document.querySelector('#cue').dataset.seq"))
        await eventually(lambda: painted[-1].seq >= seq + 5)
        unsubscribe()
        before = [frame for frame in painted if frame.seq < seq]
        after = [frame for frame in painted if frame.seq >= seq]
        assert seq in {frame.seq for frame in painted}
        assert abs(colour(before[-1]) - colour(after[0])).max() > 10, "the named frame looks like the one before it"
        assert abs(colour(after[0]) - colour(after[-1])).max() < 10, "the frames after it look different again"
        await until(page, f"window.shown.at(-1).mean.some((value, i) => Math.abs(value - {plain}[i]) > 10)")

        # The page's numbers move.
        await until(page, "Number(document.querySelector('[data-stat=fps_out]').textContent) > 0")
        await until(page, "parseFloat(document.querySelector('[data-stat=latency_p50]').textContent) > 0")
        await until(page, "parseFloat(document.querySelector('[data-stat=model_ms]').textContent) > 0")

        # Stop gives the camera and the place back; start works again.
        await page.click("#stop")
        await eventually(lambda: not hub.sessions())
        await start(page)
        await page.evaluate("window.shown = []")
        await page.evaluate(WATCH)
        await until(page, "window.shown.filter(each => each.counter !== null).length >= 10")
        assert len(hub.sessions()) == 1
        assert not errors


def colour(frame: Frame) -> Any:
    return frame.image[32:].mean(axis=(0, 1))


async def eventually(ready: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until ``ready()``, looking between the events of the loop; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{inspect.getsource(ready).strip()} did not come true"
        await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_slow_model_never_builds_up_lag(pipe: SDXSPipeline) -> None:
    """200 ms a frame for 30 s: every shown picture is young, the rest is dropped and counted, nothing queues."""
    slow = SlowPipeline(pipe, 0.2)
    async with live_server(slow, copy_stamp=True) as (url, hub), chromium() as browser:
        page = await browser.new_page()
        await page.goto(f"{url}/healthz")
        options = {"side": 512, "fps": 30, "warmup": 3, "seconds": 30, "session": "slow"}
        measuring = asyncio.ensure_future(page.evaluate(*script(url, options)))
        rows = []
        while not measuring.done():
            await asyncio.wait([measuring], timeout=1.0)
            rows += [session.status() for session in hub.sessions()]
        found = measuring.result()
    ages, last = found["ages"], rows[-1]
    assert len(ages) >= 60, f"only {len(ages)} pictures in 30 s"
    # A queue would age every picture by the second. A single late one is this machine's: browser, codecs and model
    # share its cores, and a picture that is held up for a moment is shown late by that moment.
    late = [age for age in ages if age >= 500]
    assert len(late) <= 0.03 * len(ages), f"{len(late)} of {len(ages)} pictures were old when they were shown: {late}"
    assert statistics.median(ages[-20:]) < statistics.median(ages[:20]) + 100, "the pictures get older"
    assert in_order(found["counters"])
    assert last["frames_dropped"] > last["frames_out"], "at 30 in and 5 out most frames are dropped"
    # Whatever came in was painted, dropped, or is one of the few in hand: no queue anywhere.
    assert all(row["frames_in"] - row["frames_out"] - row["frames_dropped"] <= 4 for row in rows), rows
