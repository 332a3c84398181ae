"""The drawing canvas: what the mouse draws arrives as black strokes on white, and every tool does what it says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.async_api import Browser, Route

from tests.browser.sketching import arrives, ink, on_page, png, shown, stroke
from tests.browser.studio import SIZE, open_studio, painted, says
from tests.webrtc import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

DRAWING = {"controls": ("canny", "sketch")}
ACROSS = ((64, 128), (192, 128))
DOWN = ((128, 40), (128, 220))


@pytest.mark.parametrize("viewport", [(1280, 800), (390, 844), (1900, 1060)])
async def test_strokes_of_the_mouse_arrive_black_on_white(browser: Browser, viewport: tuple[int, int]) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.ready("/?mode=draw")
        await page.set_viewport_size({"width": viewport[0], "height": viewport[1]})
        await page.click("#start")
        await painted(page)
        await page.locator("#sketch").scroll_into_view_if_needed()
        await stroke(page, *ACROSS)
        await arrives(studio, await shown(page))
        picture = studio.hub.only().drawings[-1]
    assert picture.shape == (*SIZE, 3)
    black = ink(picture)
    assert np.allclose(black[:, 80:176].sum(axis=0), 8, atol=0.1), "the line is 8 pixels wide"
    assert (black[126:130, 66:190] == 1).all(), "it is black where the mouse went"
    away = np.ones(SIZE, bool)
    away[122:135, 58:199] = False
    assert (black[away] == 0).all(), "it is white where it did not"
    assert black[128, 61] > 0, "it ends round, half its width past the end"
    assert black[128, 58] == 0


async def test_a_click_is_a_dot(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        await stroke(page, (100, 90))
        await arrives(studio, await shown(page))
        black = ink(studio.hub.only().drawings[-1])
    assert black.sum() == pytest.approx(np.pi * 4**2, rel=0.05)
    rows, columns = np.nonzero(black > 0.5)
    assert (rows.mean(), columns.mean()) == (pytest.approx(89.5, abs=1), pytest.approx(99.5, abs=1))


async def test_a_stroke_is_painted_while_it_is_drawn(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        start, middle = await on_page(page, *ACROSS)
        await page.mouse.move(*start)
        await page.mouse.down()
        await page.mouse.move(*middle, steps=5)
        await arrives(studio, await shown(page))
        assert ink(studio.hub.only().drawings[-1]).sum() > 500
        await page.wait_for_function(
            "/^Change \\d+: picture \\d+, after \\d+ ms$/.test(document.getElementById('cue').innerText)"
        )
        await page.mouse.up()


async def test_undo_and_redo_restore_every_pixel(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        assert await page.is_disabled("#undo")
        states = [await shown(page)]
        for points in (ACROSS, DOWN, ((20, 20), (240, 100), (60, 230))):
            await stroke(page, *points)
            states.append(await shown(page))
        await page.click("#eraser")
        await stroke(page, (128, 100), (128, 160))
        states.append(await shown(page))
        assert all(not np.array_equal(one, other) for one, other in pairwise(states))
        for state in states[-2::-1]:
            await page.keyboard.press("Control+z")
            assert np.array_equal(await shown(page), state)
            await arrives(studio, state)
        assert await page.is_disabled("#undo")
        for state in states[1:]:
            await page.click("#redo")
            assert np.array_equal(await shown(page), state)
        assert await page.is_disabled("#redo")
        await arrives(studio, states[-1])
        await page.keyboard.press("Control+z")
        await stroke(page, (10, 10), (40, 10))
        assert await page.is_disabled("#redo")  # another way was taken


async def test_undo_while_typing_is_that_of_the_text(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.ready("/?mode=draw")
        await stroke(page, *ACROSS)
        before = await shown(page)
        await page.focus("#prompt")
        await page.keyboard.type("b e")
        await page.keyboard.press("Control+z")
        assert np.array_equal(await shown(page), before)
        assert await page.get_attribute("#brush", "aria-pressed") == "true"


async def test_the_eraser_and_the_sizes(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        cursor = await page.evaluate("document.querySelector('#sketch').style.cursor")
        await page.evaluate(
            "const size = document.querySelector('#brush-size'); size.value = 30;"
            " size.dispatchEvent(new Event('input', { bubbles: true }))"
        )
        assert await page.evaluate("document.querySelector('#sketch').style.cursor") != cursor
        await stroke(page, *ACROSS)
        assert ink(await shown(page))[:, 128].sum() == pytest.approx(30, abs=0.1)
        await page.keyboard.press("e")
        assert await page.get_attribute("#eraser", "aria-pressed") == "true"
        await stroke(page, *DOWN)
        black = ink(await shown(page))
        assert (black[:, 115:141] == 0).all()
        assert (black[120:136, 70:110] == 1).all()
        await page.keyboard.press("b")
        assert await page.get_attribute("#brush", "aria-pressed") == "true"
        await stroke(page, *DOWN)
        assert ink(await shown(page))[128, 128] == 1
        await arrives(studio, await shown(page))


async def test_clear_can_be_undone(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        assert await page.is_visible("text=Draw here")
        await stroke(page, *ACROSS)
        assert await page.is_hidden("text=Draw here")
        before = await shown(page)
        await page.click("#clear")
        assert (await shown(page) == 255).all()
        await arrives(studio, np.full((*SIZE, 3), 255, np.uint8))
        await page.click("#undo")
        assert np.array_equal(await shown(page), before)
        await arrives(studio, before)


async def test_a_stroke_that_leaves_the_canvas_goes_on(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        await stroke(page, (200, 60), (300, 60), (300, 200), (200, 200))
        black = ink(await shown(page))
        assert black[60, 250] == black[200, 250] == 1
        assert (black[100:160] == 0).all(), "what is outside isn't drawn"
        await stroke(page, (128, 128), (128, 300))  # let go outside
        before = await shown(page)
        (inside,) = await on_page(page, (30, 30))
        await page.mouse.move(*inside)
        assert np.array_equal(await shown(page), before)
        await arrives(studio, before)


async def test_a_finger_draws_and_does_not_scroll(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        await page.set_viewport_size({"width": 390, "height": 600})
        client = await page.context.new_cdp_session(page)

        async def touch(kind: str, *points: tuple[float, float]) -> None:
            fingers = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
            await client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

        before = await page.evaluate("scrollY")
        second, *path = await on_page(page, (30, 60), *((128, 40 + 10 * step) for step in range(12)))
        await touch("touchStart", path[0])
        for point in path[1:]:
            await touch("touchMove", point)
        await touch("touchStart", path[-1], second)  # a second finger does nothing
        await touch("touchEnd")
        black = ink(await shown(page))
        assert (black[45:140, 126:130] > 0.9).all()
        assert (black[:, :100] == 0).all()
        assert await page.evaluate("scrollY") == before
        await arrives(studio, await shown(page))


async def test_an_uploaded_picture_is_fitted_onto_white(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        await stroke(page, *ACROSS)
        before = await shown(page)
        wide = {"name": "wide.png", "mimeType": "image/png", "buffer": png(np.zeros((50, 100, 3), np.uint8))}
        await page.set_input_files("#upload-file", wide)
        await page.wait_for_function("!document.querySelector('#upload-file').value")
        await eventually(lambda: (studio.hub.only().drawings[-1][128] == 0).all(), "the picture arrives")
        black = ink(await shown(page))
        assert (black[66:190] == 1).all()
        assert (black[:62] == 0).all()
        assert (black[194:] == 0).all()
        await page.click("#undo")
        assert np.array_equal(await shown(page), before)
        await page.set_input_files("#upload-file", {"name": "x.png", "mimeType": "image/png", "buffer": b"not one"})
        await says(page, "“x.png” can't be read as a picture")
        assert np.array_equal(await shown(page), before)


async def test_the_drawing_can_be_downloaded(browser: Browser, tmp_path: Path) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.ready("/?mode=draw")
        await stroke(page, *ACROSS)
        async with page.expect_download() as downloading:
            await page.click("#download")
        download = await downloading.value
        assert download.suggested_filename == "drawing.png"
        await download.save_as(tmp_path / "drawing.png")
        assert np.array_equal(cv2.imread(str(tmp_path / "drawing.png"))[..., ::-1], await shown(page))


async def test_one_drawing_is_on_its_way_at_a_time_and_the_last_arrives(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        session = studio.hub.only()
        await eventually(lambda: len(session.drawings) == 1, "a new session gets the drawing as it is")
        studio.desk.open.clear()
        await stroke(page, (20, 20), (100, 20))
        await eventually(lambda: studio.desk.here == 1, "the first is on its way")
        for height in range(40, 240, 40):
            await stroke(page, (20, height), (230, height), steps=6)
        assert (studio.desk.here, len(session.drawings)) == (1, 1)
        studio.desk.open.set()
        await arrives(studio, await shown(page))
        assert studio.desk.most_here == 1
        assert len(session.drawings) == 3, "what lies between was left out"


async def test_a_drawing_that_nobody_answered_is_sent_again(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        failed: list[str] = []

        async def fail(route: Route) -> None:
            failed.append(route.request.url)
            await route.abort()

        await page.route("**/drawing", fail)
        await stroke(page, *ACROSS)
        await eventually(lambda: failed, "it is tried")
        await page.unroute("**/drawing")
        await arrives(studio, await shown(page))


async def test_a_drawing_that_is_refused_is_said_and_the_next_is_sent(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        problem: dict[str, Any] = {"status": 413, "json": {"detail": "The drawing is too large for this test."}}
        await page.route("**/drawing", lambda route: route.fulfill(**problem))
        await stroke(page, *ACROSS)
        await says(page, "That drawing wasn't taken")
        await says(page, "too large for this test")
        await page.unroute("**/drawing")
        await stroke(page, *DOWN)
        await arrives(studio, await shown(page))
        assert await page.evaluate("window.sdxs.state") == "live"


async def test_the_drawing_survives_stop_and_start_and_other_modes(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.live("/?mode=draw")
        await stroke(page, *ACROSS)
        drawn = await shown(page)
        await page.click("#stop")
        await says(page, "Your drawing stays")
        await eventually(lambda: not studio.hub.live, "the session ends")
        await page.click("#mode-imagine")
        await page.click("#mode-camera")
        await page.click("#mode-draw")
        assert np.array_equal(await shown(page), drawn)
        await page.click("#start")
        await painted(page)
        await arrives(studio, drawn)
        await page.click("#undo")
        await arrives(studio, np.full((*SIZE, 3), 255, np.uint8))


async def test_what_was_drawn_before_the_server_told_its_size_is_kept(browser: Browser) -> None:
    async with open_studio(browser, **DRAWING) as studio:
        page = await studio.page("/healthz")
        held: list[Route] = []
        await page.route("**/api/about", lambda route: held.append(route))
        await page.goto(f"{studio.url}?mode=draw")
        await eventually(lambda: held, "the page asks")
        await stroke(page, (128, 256), (384, 256))  # of 512 × 512
        await held[0].continue_()
        await says(page, "Ready")
        black = ink(await shown(page))
        assert black.shape == SIZE
        assert np.allclose(black[:, 80:176].sum(axis=0), 4, atol=0.2)
