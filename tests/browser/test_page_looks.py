"""Every mode on every screen: nothing is cut off, everything can be touched and has a name."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.async_api import Browser

from tests.browser.sketching import arrives, shown, stroke
from tests.browser.studio import open_studio
from tests.browser.test_page_modes import ALL

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize("mode", ["camera", "draw", "imagine"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (390, 844), (820, 1180), (1280, 800), (1920, 1080)])
async def test_every_mode_fits_every_screen(browser: Browser, mode: str, width: int, height: int) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready(f"/?mode={mode}")
        await page.set_viewport_size({"width": width, "height": height})
        await page.evaluate("document.querySelectorAll('details').forEach(each => (each.open = true))")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        for control in ("#start", "#stop", "#output-frame", *(["#sketch"] if mode == "draw" else [])):
            box = await page.locator(control).bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= width - box["width"], f"{control} is cut off"
            assert box["y"] + box["height"] <= height, f"{control} is below the fold"
        sizes = await page.eval_on_selector_all(
            "button, select:not(#preset), textarea, input:not([type=radio])",
            "all => all.filter(each => each.checkVisibility({ visibilityProperty: true }))"
            ".map(each => [each.id, each.getBoundingClientRect().height])",
        )
        assert all(size >= 44 for _, size in sizes), sizes


async def test_every_field_of_every_mode_has_a_label_of_its_own(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready()
        for mode in ("camera", "draw", "imagine"):
            await page.click(f"#mode-{mode}")
            names = await page.eval_on_selector_all(
                "input, select:not([aria-hidden]), textarea, button",
                "all => all.map(each => each.ariaLabel || each.labels?.[0]?.textContent.trim()"
                " || each.textContent.trim())",
            )
            assert all(names)
        identities = await page.eval_on_selector_all("[id]", "all => all.map(each => each.id)")
        assert len(identities) == len(set(identities))


async def test_the_pictures_have_the_models_shape(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.browser.studio.SIZE", (192, 320))
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live("/?mode=draw")
        await stroke(page, (20, 96), (300, 96))
        picture = await shown(page)
        assert picture.shape == (192, 320, 3)
        await arrives(studio, picture)
        for element in ("#sketch", "#output"):
            box = await page.locator(element).bounding_box()
            assert box is not None
            assert box["width"] / box["height"] == pytest.approx(320 / 192, rel=0.01)
        assert np.count_nonzero(picture[96, :, 0] < 128) == pytest.approx(288, abs=1)
