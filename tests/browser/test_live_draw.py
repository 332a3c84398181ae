"""A real Chromium, the real page, server and model, and no camera: drawings and words come back painted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.async_api import Page

from pipelines import SDXSPipeline
from realtime.bench.browser import chromium
from realtime.hub import Hub
from realtime.session import Session
from streaming.frame import Frame
from tests.browser.live import live_server
from tests.browser.sketching import shown, stroke
from tests.browser.test_live import eventually, start, until

pytestmark = pytest.mark.browser

#: What #output shows now, as the mean colour of its upper and its lower half.
HALVES = """() => {
    const video = document.querySelector("#output");
    const canvas = Object.assign(document.createElement("canvas"), { width: 2, height: 2 });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    const mean = (top) => {
        context.drawImage(video, 0, top * video.videoHeight, video.videoWidth, video.videoHeight / 2, 0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    };
    return [mean(0), mean(0.5)];
}"""


@pytest.fixture(scope="module")
def pipe() -> SDXSPipeline:
    return SDXSPipeline.from_pretrained("embedded", device="cpu")


class Watcher:
    """Every painted picture of a session, from the time it was made, and the ids of the changes that became visible."""

    def __init__(self, session: Session) -> None:
        self.painted: list[Frame] = []
        self.visible: list[int] = []
        session.subscribe(self.painted.append)
        session.listen(lambda event: self.visible.append(event["id"]) if event["type"] == "visible" else None)

    @property
    def newest(self) -> np.ndarray:
        return self.painted[-1].image.astype(float)


def only(hub: Hub) -> Session:
    (session,) = hub.sessions()
    return session


async def open_page(browser: Any, url: str, errors: list[str]) -> Page:
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(url)
    await until(page, "document.querySelector('#styles input') !== null")
    return page


async def test_every_stroke_is_repainted(pipe: SDXSPipeline) -> None:
    errors: list[str] = []
    async with live_server(pipe) as (url, hub), chromium() as browser:
        page = await open_page(browser, f"{url}/?mode=draw", errors)
        await page.select_option("#preset", label="Ink")
        await start(page)
        session = only(hub)
        watcher = Watcher(session)
        await eventually(lambda: len(watcher.painted) > 0)
        settings = session.settings()
        assert (settings["control"], settings["sketch_detector"]) == ("sketch", "drawn")
        assert settings["conditioning_scale"] == 0.8
        assert session.status()["mode"] == "draw"
        blank = watcher.newest

        # A stroke shows where it was drawn, and hardly anywhere else.
        await stroke(page, (40, 64), (216, 64))
        drawn = await shown(page)
        await eventually(lambda: np.array_equal(session.snapshot.drawing, drawn))
        await eventually(lambda: session.snapshot.change_id in watcher.visible)
        one = watcher.newest
        change = np.abs(one - blank).mean(axis=(1, 2))
        assert change[56:73].mean() > 10
        assert change[56:73].mean() > 5 * change[160:240].mean()
        await until(page, "document.querySelector('#cue').dataset.seq")

        # The browser sees it too: a heavy scribble in the lower half darkens that half.
        before = await page.evaluate(HALVES)
        for height in range(150, 240, 16):
            await stroke(page, (20, height), (236, height))
        await until(page, f"(({HALVES})()[1][0] + 10 < {before[1][0]})")

        # Undo takes it back: the same drawing is painted the same way.
        for _ in range(6):
            await page.click("#undo")
        await eventually(lambda: np.array_equal(session.snapshot.drawing, drawn))
        await eventually(lambda: session.snapshot.change_id in watcher.visible)
        assert np.abs(watcher.newest - one).max() <= 1

        await page.click("#stop")
        await eventually(lambda: not hub.sessions())
    assert not errors


async def test_words_are_painted_and_walk(pipe: SDXSPipeline) -> None:
    errors: list[str] = []
    async with live_server(pipe) as (url, hub), chromium() as browser:
        page = await open_page(browser, f"{url}/?mode=imagine", errors)
        await start(page)
        session = only(hub)
        watcher = Watcher(session)
        assert session.settings()["control"] == "none"
        await eventually(lambda: len(watcher.painted) > 0)
        first = watcher.newest
        await page.select_option("#preset", label="Blueprint")
        await eventually(lambda: np.abs(watcher.newest - first).mean() > 10)

        # It stands still, and when it walks it doesn't.
        await eventually(lambda: session.snapshot.change_id in watcher.visible)
        count = len(watcher.painted)
        await eventually(lambda: len(watcher.painted) >= count + 3)
        still = [frame.image for frame in watcher.painted[count:]]
        assert all(np.array_equal(still[0], each) for each in still)
        await page.select_option("#walk", "seeds")
        await page.fill("#walk-seconds", "1")
        await eventually(lambda: session.settings()["walk_seconds"] == 1)
        count = len(watcher.painted)
        await eventually(lambda: len(watcher.painted) >= count + 20)
        steps = np.diff([frame.image.astype(float) for frame in watcher.painted[count:]], axis=0)
        assert np.mean(np.abs(steps).max(axis=(1, 2, 3)) > 0) > 0.8, "nearly every picture is another one"

        # Another mode goes on with what runs: a drawing, and the words that were chosen.
        await page.click("#mode-draw")
        await eventually(lambda: [each.status()["mode"] for each in hub.sessions()] == ["draw"])
        await eventually(lambda: only(hub).settings()["prompt"] == "blueprint")
        await page.goto("about:blank")
        await eventually(lambda: not hub.sessions())
    assert not errors
