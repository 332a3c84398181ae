"""Camera, draw and imagine: each starts, stops, goes over into another, and says what went wrong."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from tests.browser.sketching import arrives as drawing_arrives
from tests.browser.sketching import shown, stroke
from tests.browser.studio import open_studio, painted, says
from tests.browser.test_page_studio import arrives
from tests.browser.test_page_words import KEEP_TRACKS, can_start
from tests.webrtc import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

#: A model that has everything.
ALL = {"controls": ("canny", "sketch", "depth"), "loras": ("anime", "ink")}
NO_CAMERA = ("draw", "imagine")


@pytest.mark.parametrize("mode", NO_CAMERA)
async def test_start_and_stop_without_a_camera(browser: Browser, mode: str) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready(script=KEEP_TRACKS)
        await page.click(f"#mode-{mode}")
        for _ in range(2):
            await page.click("#start")
            await painted(page)
            session = studio.hub.only()
            assert (session.mode, session.patches) == (mode, [])
            assert await page.input_value("#viewer-link") == f"{studio.url}/view/{session.name}"
            await page.click("#stop")
            await says(page, "Stopped")
            await eventually(lambda: not studio.hub.live, "the session ends")
            await eventually(lambda: not studio.connections.all(), "its connection ends")
        assert studio.hub.ended[-1][1] == "The session was ended through the API."
        assert len(set(studio.hub.opened)) == 1  # the viewer's link stays good
        assert await page.evaluate("window.tracks") == []
        assert await page.evaluate("document.querySelector('#output').srcObject") is None


async def test_another_mode_goes_on_with_what_runs(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live(script=KEEP_TRACKS)
        for mode in ("draw", "imagine", "camera", "draw"):
            await page.click(f"#mode-{mode}")
            await eventually(lambda mode=mode: [s.mode for s in studio.hub.live.values()] == [mode], f"{mode} starts")
            await painted(page)
        assert await page.evaluate("window.tracks.map(track => track.readyState)") == ["ended"] * 2
        assert len(set(studio.hub.opened)) == 1


async def test_modes_by_keyboard(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready()
        await page.focus("#mode-camera")
        await page.keyboard.press("ArrowRight")
        assert await page.evaluate("[window.sdxs.mode, document.activeElement.id]") == ["draw", "mode-draw"]
        await page.keyboard.press("s")
        await painted(page)
        assert studio.hub.only().mode == "draw"


@pytest.mark.parametrize("mode", NO_CAMERA)
async def test_stop_while_starting_leaves_nothing_behind(browser: Browser, mode: str) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready(f"/?mode={mode}")
        await page.evaluate("document.querySelector('#start').click(); document.querySelector('#stop').click()")
        await says(page, "Stopped")
        await page.click("#start")
        await says(page, "Connect")
        await page.click("#stop")
        await eventually(lambda: not studio.connections.all() and not studio.hub.live, "the half-made session ends")
        await page.click("#start")
        await painted(page)


async def test_the_session_ends_with_the_page(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live("/?mode=imagine")
        await page.goto("about:blank")
        await eventually(lambda: not studio.hub.live, "the session ends", deadline=5)


@pytest.mark.parametrize("mode", NO_CAMERA)
async def test_a_session_that_the_server_ends_says_why(browser: Browser, mode: str) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live(f"/?mode={mode}")
        studio.hub.close(studio.hub.only().name, reason="The operator needs the place.")
        await says(page, "The operator needs the place.")
        assert await can_start(page)


@pytest.mark.parametrize("survives", [False, True])
async def test_a_lost_connection_comes_back_with_the_drawing(
    browser: Browser, survives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live("/?mode=draw")
        await page.fill("#prompt", "kept")
        await arrives(studio, prompt="kept")
        await stroke(page, (64, 128), (192, 128))
        drawn = await shown(page)
        await drawing_arrives(studio, drawn)
        name = studio.hub.only().name
        if survives:  # the page's goodbye is lost as well: the session it had is still there, under its name
            await page.route(f"**/api/sessions/{name}", lambda route: route.abort(), times=1)
        (viewer,) = studio.connections.all()
        monkeypatch.setattr(viewer.control, "tell", lambda event: None)
        await viewer.connection.close()
        await says(page, "Connection lost")
        await painted(page)
        assert studio.hub.opened == [name, name]
        await arrives(studio, prompt="kept")
        await drawing_arrives(studio, drawn)


async def test_a_server_that_goes_away_is_said(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready("/?mode=imagine")
        await page.clock.install()
        await page.click("#start")
        await painted(page)
        await page.route("**/api/**", lambda route: route.abort())
        (viewer,) = studio.connections.all()
        monkeypatch.setattr(viewer.control, "tell", lambda event: None)
        await viewer.connection.close()
        await says(page, "Connection lost")
        await page.clock.run_for(30_000)
        await says(page, "The server doesn't answer")
        assert await can_start(page)


async def test_no_free_place_says_when_to_try_again(browser: Browser) -> None:
    async with open_studio(browser, places=0, **ALL) as studio:
        page = await studio.ready("/?mode=draw")
        await page.click("#start")
        await says(page, "No free place right now")
        await says(page, "Press Start again in")
        assert await can_start(page)


async def test_a_model_that_takes_no_drawings_says_so_at_once(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready()
        await page.click("#mode-draw")
        await says(page, "This model can't paint from drawings")
        await page.click("#mode-imagine")
        await says(page, "Ready")


async def test_what_the_model_says_of_text_alone_stands_in_imagine_only(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        studio.hub.note = "This model knows no subjects."
        page = await studio.ready()
        note = page.locator("#note")
        assert not await note.is_visible()
        await page.click("#mode-imagine")
        await note.wait_for(state="visible")
        assert await note.text_content() == studio.hub.note


async def test_warming_up_is_waited_for(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready("/?mode=imagine")
        studio.hub.waiting = "The model is still being loaded."
        await page.click("#start")
        await says(page, "The model is still being loaded.")
        studio.hub.waiting = None
        await painted(page)
        assert len(studio.hub.live) == 1


@pytest.mark.parametrize("mode", NO_CAMERA)
async def test_without_a_camera_or_https_it_works_all_the_same(browser: Browser, mode: str) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready(f"/?mode={mode}", script="delete Navigator.prototype.mediaDevices")
        await says(page, "Ready")
        await page.click("#start")
        await painted(page)
        await page.click("#mode-camera")
        await says(page, "no camera access")


@pytest.mark.parametrize("mode", NO_CAMERA)
async def test_the_token_is_asked_for_at_the_new_routes(browser: Browser, mode: str) -> None:
    async with open_studio(browser, token="secret", **ALL) as studio:
        page = await studio.page("/healthz")
        about = studio.hub.about()
        await page.route("**/api/about", lambda route: route.fulfill(json=about))
        await page.goto(f"{studio.url}?mode={mode}")
        await says(page, "Ready")
        await page.click("#start")
        await page.wait_for_selector("#token-dialog[open]")
        await page.fill("#token", "secret")
        await page.press("#token", "Enter")
        await painted(page)
        if mode == "draw":
            await stroke(page, (64, 128), (192, 128))
            await drawing_arrives(studio, await shown(page))
        await page.click("#stop")
        await eventually(lambda: not studio.hub.live, "the session ends")
