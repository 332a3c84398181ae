"""The settings of each mode: what is shown, and what is sent."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page

from streaming.service import Json
from tests.browser.studio import DEFAULTS, STYLES, open_studio, painted
from tests.browser.test_page_modes import ALL
from tests.browser.test_page_studio import arrives, slide
from tests.webrtc import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def visible(page: Page, *fields: str) -> list[str]:
    return [field for field in fields if await page.is_visible(field)]


async def test_each_mode_starts_as_it_should(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready()
        assert await page.input_value("#strength") == "1"
        await page.click("#mode-draw")
        assert await page.input_value("#strength") == "0.8"
        await slide(page, "#strength", 0.5)
        await page.click("#mode-camera")
        assert await page.input_value("#strength") == "1"
        await page.click("#mode-draw")
        assert await page.input_value("#strength") == "0.5"
        await page.click("#start")
        await painted(page)
        await arrives(studio, conditioning_scale=0.5, control="sketch", sketch_detector="drawn")
        assert studio.hub.only().patches == [{"conditioning_scale": 0.5}]


async def test_the_models_own_defaults_wait_for_the_camera(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"conditioning_scale": 0.6, "depth_every": 7, "canny_low": 40, "walk_seconds": 3.0}.items():
        monkeypatch.setitem(DEFAULTS, name, value)
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready("/?mode=draw")
        assert await page.input_value("#strength") == "0.8"
        await page.click("#mode-camera")
        assert await page.input_value("#strength") == "0.6"
        await page.click("#start")
        await painted(page)
        assert studio.hub.only().patches == []


async def test_only_what_applies_is_shown(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.ready()
        await page.evaluate("document.querySelectorAll('details').forEach(each => (each.open = true))")
        fields = (
            "#camera",
            "#control",
            "#strength",
            "#init-strength",
            "#steadiness",
            "#canny-low",
            "#sketch-detector",
            "#depth-every",
        )
        other = ("#template", "#walk", "#walk-seconds", "#sketch", "#extra-controls")
        expected = {
            "camera": [
                *("#camera", "#control", "#strength", "#init-strength", "#steadiness", "#canny-low"),
                "#extra-controls",
            ],
            "draw": ["#strength", "#template", "#sketch"],
            "imagine": ["#template", "#walk"],
        }
        for mode, there in expected.items():
            await page.click(f"#mode-{mode}")
            assert await visible(page, *fields, *other) == there
        await page.click("#mode-camera")
        for control, there in {
            "sketch": ["#strength", "#sketch-detector"],
            "depth": ["#strength", "#depth-every"],
            "none": [],
        }.items():
            await page.select_option("#control", control)
            assert await visible(page, "#strength", "#canny-low", "#sketch-detector", "#depth-every") == there
        assert await page.is_hidden("#extra-controls")
        options = await page.eval_on_selector_all("#control option", "all => all.map(each => each.textContent)")
        assert options == ["Canny edges", "Sketch", "Depth", "Text alone"]


async def test_more_controls_and_loras_only_where_the_model_has_them(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready()
        assert await visible(page, "text=More controls", "#lora", "#lora-scale") == []
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live()
        await page.select_option("#lora", "ink")
        await slide(page, "#lora-scale", 0.7)
        await arrives(studio, lora="ink", lora_scale=0.7)
        await page.click("text=More controls")
        assert await visible(page, "text=Also edges", "text=Also sketch", "text=Also depth") == [
            "text=Also sketch",
            "text=Also depth",
        ]
        await slide(page, "[data-kind=depth]", 0.4)
        await slide(page, "[data-kind=sketch]", 0.2)
        await arrives(studio, extra_controls={"sketch": 0.2, "depth": 0.4})
        await page.select_option("#control", "depth")  # which can't be an extra one then
        await arrives(studio, control="depth", extra_controls={"sketch": 0.2})
        assert {"control": "depth", "extra_controls": {"sketch": 0.2}} in studio.hub.only().patches
        await page.select_option("#control", "none")
        await arrives(studio, control="none", extra_controls={})


async def test_details_of_the_controls_arrive(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live()
        await page.evaluate("document.querySelectorAll('details').forEach(each => (each.open = true))")
        await page.select_option("#control", "sketch")
        await page.select_option("#sketch-detector", "hed")
        await page.select_option("#control", "depth")
        await page.select_option("#depth-estimator", "zoe")
        await slide(page, "#depth-every", 5)
        await slide(page, "#depth-smoothing", 0.5)
        await slide(page, "#init-strength", 0.3)
        assert await page.input_value("#steadiness") == "0.9"
        await slide(page, "#steadiness", 0.5)
        expected: Json = {"sketch_detector": "hed", "depth_estimator": "zoe", "depth_every": 5, "depth_smoothing": 0.5}
        await arrives(studio, control="depth", init_strength=0.3, steadiness=0.5, **expected)


async def test_blending_and_seed_travel_in_every_mode(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live("/?mode=imagine")
        await page.click("text=Blend")
        await page.fill("#prompt-b", "a lake")
        await slide(page, "#blend", 0.25)
        await page.fill("#seed-b", "12")
        await slide(page, "#seed-blend", 0.75)
        values: Json = {"prompt_b": "a lake", "blend": 0.25, "seed_b": 12, "seed_blend": 0.75}
        await arrives(studio, **values)
        for mode in ("camera", "draw"):
            await page.click(f"#mode-{mode}")
            await painted(page)
            await arrives(studio, **values)


async def test_walks_send_the_right_patches(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live("/?mode=imagine")
        session = studio.hub.only()
        await page.select_option("#walk", "seeds")
        await arrives(studio, walk="seeds")
        await page.fill("#walk-seconds", "0.1")
        assert await page.is_visible("#walk-seconds-hint")
        await page.fill("#walk-seconds", "2.5")
        await arrives(studio, walk_seconds=2.5)
        await page.select_option("#walk", "prompts")
        assert await page.evaluate("document.activeElement.id") == "prompt-b"  # there must be one to walk to
        await page.keyboard.type("the sea")
        await page.keyboard.press("Enter")
        await arrives(studio, walk="prompts", prompt_b="the sea")
        await page.select_option("#walk", "none")
        await arrives(studio, walk="none")
        sent = [each for each in session.patches if "prompt_b" not in each]
        assert sent == [{"walk": "seeds"}, {"walk_seconds": 2.5}, {"walk": "prompts"}, {"walk": "none"}]
        assert await page.is_hidden("#walk-seconds")


async def test_a_template_goes_around_the_prompt(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live("/?mode=draw")
        await page.fill("#prompt", "a fox")
        await page.select_option("#template", label="Manga")
        words = await page.input_value("#template")
        await arrives(studio, prompt=f"a fox, {words}", prompt_b="")
        await page.fill("#prompt", "a hen")
        await arrives(studio, prompt=f"a hen, {words}")
        session = studio.hub.only()
        session.tell_stats(fps_out=1.0)
        await page.wait_for_function("document.querySelector('[data-stat=fps_out]').textContent === '1.0'")
        assert await page.input_value("#prompt") == "a hen"
        await page.click("#styles label >> nth=1")
        await arrives(studio, prompt=f"{STYLES[1]['prompt']}, {words}")
        await page.click("#mode-camera")  # which has no template
        await painted(page)
        await arrives(studio, prompt=STYLES[1]["prompt"])
        await page.click("#mode-draw")
        await painted(page)
        await arrives(studio, prompt=f"{STYLES[1]['prompt']}, {words}")
        studio.hub.only().values["prompt"] = "from the API"
        studio.hub.only().tell_stats()
        await page.wait_for_function("document.querySelector('#prompt').value === 'from the API'")
        assert await page.input_value("#template") == ""


async def test_a_thing_is_imagined_in_the_style_that_is_chosen(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        studio.hub.subjects = ["fox", "old castle", "bus"]
        page = await studio.ready()
        assert await page.is_hidden("#thing")
        await page.click("#mode-imagine")
        assert await page.input_value("#thing") == "fox"
        offered = await page.eval_on_selector_all("#things option", "all => all.map(each => each.value)")
        assert offered == studio.hub.subjects
        await page.click("#start")
        await painted(page)
        await arrives(studio, prompt="fox, ink drawing")
        assert await page.input_value("#prompt") == "ink drawing"
        await page.click("#styles label >> nth=1")
        await arrives(studio, prompt=f"fox, {STYLES[1]['prompt']}")
        await page.click("#another")
        thing = await page.input_value("#thing")
        assert thing in ("old castle", "bus")
        await arrives(studio, prompt=f"{thing}, {STYLES[1]['prompt']}")
        await page.fill("#thing", "ufo")
        await page.keyboard.press("Enter")
        await page.select_option("#template", label="Manga")
        words = await page.input_value("#template")
        await arrives(studio, prompt=f"ufo, {STYLES[1]['prompt']}, {words}")
        await page.click("#mode-camera")  # where the camera shows what there is
        await painted(page)
        await arrives(studio, prompt=STYLES[1]["prompt"])
        await page.click("#mode-imagine")
        await painted(page)
        await arrives(studio, prompt=f"ufo, {STYLES[1]['prompt']}, {words}")
        studio.hub.only().values["prompt"] = "from the API"
        studio.hub.only().tell_stats()
        await page.wait_for_function("document.querySelector('#prompt').value === 'from the API'")
        assert await page.input_value("#thing") == ""


async def test_a_model_that_knows_nothing_by_name_asks_for_no_thing(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live("/?mode=imagine")
        assert await visible(page, "#thing", "#another") == []
        await arrives(studio, prompt="ink drawing")


async def test_the_age_of_slow_maps_is_shown_where_there_are_any(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live()
        assert await page.is_hidden("#condition-age")
        studio.hub.only().tell_stats(condition_age_ms=83.4)
        await page.wait_for_selector("#condition-age")
        assert await page.inner_text("[data-stat=condition_age]") == "83"
        studio.hub.only().tell_stats(condition_age_ms=None)
        await page.wait_for_selector("#condition-age", state="hidden")


async def test_a_seed_changes_what_is_imagined(browser: Browser) -> None:
    async with open_studio(browser, **ALL) as studio:
        page = await studio.live("/?mode=imagine")
        await page.fill("#seed", "200")
        await eventually(
            lambda: studio.hub.only().pushed and studio.hub.only().pushed[-1].image[-1, -1, 0] == 200, "it is painted"
        )
        await page.wait_for_function(
            "() => { const canvas = document.createElement('canvas'); const context = canvas.getContext('2d');"
            " context.drawImage(document.querySelector('#output'), 0, 0, 300, 150);"
            " return Math.abs(context.getImageData(150, 100, 1, 1).data[0] - 55) < 12; }"
        )
