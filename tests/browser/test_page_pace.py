"""The pace of a session on the page: its two fields, what the governor does in words, and what was skipped."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from tests.browser.studio import DEFAULTS, open_studio, painted, says
from tests.browser.test_page_modes import ALL
from tests.browser.test_page_studio import arrives, slide

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

GOVERNOR = {"level": 2, "of": 5, "doing": "painting at half size"}


async def test_both_fields_reach_the_session(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        assert await page.is_hidden("#latency-target"), "folded away"
        await page.click("text=Pace")
        assert await page.input_value("#latency-target") == "0"
        assert await page.inner_text(".field:has(#skip-similar) output") == "off"
        await page.select_option("#latency-target", label="150 ms")
        await slide(page, "#skip-similar", 4.5)
        await arrives(studio, latency_target=150, skip_similar=4.5)
        assert await page.inner_text(".field:has(#skip-similar) output") == "4.5"
        await page.select_option("#latency-target", label="Off")
        await arrives(studio, latency_target=0)
        assert all(type(patch.get("latency_target", 0)) is int for patch in studio.hub.only().patches)


async def test_what_the_api_has_set_is_shown_and_kept(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        session = studio.hub.only()
        session.values.update(latency_target=175, skip_similar=30.0)
        session.tell_stats()
        await page.wait_for_function("document.querySelector('#latency-target').value === '175'")
        await page.wait_for_function("document.querySelector('#skip-similar').value === '30'")
        for _ in range(3):
            session.tell_stats()
        await page.click("#random")
        await page.wait_for_function("document.querySelector('#seed').value !== '0'")
        assert await page.eval_on_selector_all("#latency-target option", "all => all.map(o => o.textContent)") == [
            *("Off", "75 ms", "100 ms", "150 ms", "200 ms", "300 ms", "500 ms", "1000 ms"),
            "175 ms",
        ]
        assert all(set(patch) == {"seed"} for patch in session.patches), "showing is not changing"


async def test_it_is_chosen_before_start_and_skipping_is_for_cameras(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEFAULTS, "skip_similar", 2.0)
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready("/?mode=imagine")
        await page.click("text=Pace")
        assert await page.is_visible("#latency-target")
        assert await page.is_hidden("#skip-similar")
        await page.select_option("#latency-target", "200")
        await page.click("#start")
        await painted(page)
        await arrives(studio, latency_target=200)
        assert studio.hub.only().patches == [{"latency_target": 200}]
        await page.click("#mode-camera")
        assert await page.is_visible("#skip-similar")
        assert await page.input_value("#skip-similar") == "2"


async def test_the_governor_is_told_in_words(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        session = studio.hub.only()
        session.tell_stats(governor=None, frames_skipped=0)
        assert await page.is_hidden("#governor")
        session.values.update(latency_target=150)
        session.tell_stats(governor=GOVERNOR, frames_skipped=0)
        await page.wait_for_selector("#governor:visible")
        assert await page.inner_text("#governor") == "Governor: painting at half size to keep 150 ms."
        session.tell_stats(governor={"level": 0, "of": 5, "doing": "painting everything in full"})
        await page.wait_for_selector("#governor[data-level='0']")
        assert await page.inner_text("#governor") == "Governor: painting everything in full to keep 150 ms."
        session.tell_stats(governor=None)
        await page.wait_for_selector("#governor", state="hidden")


async def test_the_same_words_are_not_said_again_to_who_listens(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        session = studio.hub.only()
        session.values.update(latency_target=150)
        await page.evaluate("""() => {
            window.said = 0;
            new MutationObserver(() => window.said++).observe(document.querySelector("#governor"), { childList: true });
        }""")
        for count in range(5):
            session.tell_stats(governor=GOVERNOR, frames_skipped=count)
        await page.wait_for_function("document.querySelector('[data-stat=skipped]').textContent === '4'")
        assert await page.evaluate("window.said") == 1


async def test_skipped_pictures_are_counted_where_there_are_any(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        session = studio.hub.only()
        session.tell_stats(frames_skipped=0, frames_dropped=1)
        await page.wait_for_function("document.querySelector('[data-stat=dropped]').textContent === '1'")
        assert await page.is_hidden("#skipped")
        session.tell_stats(frames_skipped=17)
        await page.wait_for_selector("#skipped:visible")
        assert await page.inner_text("[data-stat=skipped]") == "17"
        session.values.update(skip_similar=3.0)
        session.tell_stats(frames_skipped=0)
        await page.wait_for_function("document.querySelector('[data-stat=skipped]').textContent === '0'")
        assert await page.is_visible("#skipped")


async def test_the_steps_of_warming_up_are_shown_as_they_come(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready()
        studio.hub.waiting = "Warming up: batch 4 of 16, 512×512 (step 7 of 30)."
        await page.click("#start")
        await says(page, "Warming up: batch 4 of 16, 512×512 (step 7 of 30).")
        studio.hub.waiting = "Warming up: batch 16 of 16, 256×256 (step 30 of 30)."
        await says(page, "step 30 of 30")
        studio.hub.waiting = None
        await painted(page)
