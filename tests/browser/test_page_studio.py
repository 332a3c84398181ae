"""The studio at work: start and stop, the fields, the keys, the numbers, and what leaves with the page."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, Page

from tests.browser.studio import DEFAULTS, STYLES, Studio, open_studio, painted, says
from tests.browser.test_page_words import KEEP_TRACKS
from tests.webrtc import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def arrives(studio: Studio, **values: object) -> None:
    def there() -> bool:
        return all(studio.hub.only().values[name] == value for name, value in values.items())

    await eventually(there, f"{values} reach the session")


async def slide(page: Page, field: str, value: float) -> None:
    await page.evaluate(
        "([id, value]) => { const field = document.querySelector(id); field.value = value;"
        " field.dispatchEvent(new Event('input', { bubbles: true })); }",
        [field, value],
    )


async def test_start_and_stop_by_keyboard_alone(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready()
        for _ in range(20):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.id") == "start":
                break
        await page.keyboard.press("Space")
        await painted(page)
        assert await page.evaluate("document.activeElement.id") == "start"  # the place in the page isn't lost
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.id") == "stop"
        await page.keyboard.press("Enter")
        await says(page, "Stopped")
        assert await page.evaluate("document.activeElement.id") == "start"
        await eventually(lambda: not studio.hub.live, "the session ends")


async def test_single_keys_work_except_while_typing(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready()
        await page.keyboard.press("2")
        assert await page.input_value("#prompt") == STYLES[1]["prompt"]
        await page.keyboard.press("r")
        assert await page.input_value("#seed") != "0"
        await page.keyboard.press("p")
        await page.keyboard.type(" s2r")
        assert (await page.input_value("#prompt")).count(" s2r") == 1
        assert await page.evaluate("window.sdxs.state") == "idle"
        await page.evaluate("document.activeElement.blur()")
        await page.keyboard.press("s")
        await painted(page)
        await page.keyboard.press("f")
        await page.wait_for_function("document.fullscreenElement?.id === 'output-frame'")
        await page.keyboard.press("f")
        await page.wait_for_function("!document.fullscreenElement")
        await page.keyboard.press("s")
        await says(page, "Stopped")


async def test_a_second_press_while_starting_does_nothing(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready()
        await page.dblclick("#start")
        await page.evaluate("document.querySelector('#start').click()")
        await painted(page)
        await page.evaluate("document.querySelector('#start').click()")
        assert len(studio.hub.opened) == 1


async def test_start_and_stop_any_number_of_times(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready(script=KEEP_TRACKS)
        for _ in range(3):
            await page.click("#start")
            await painted(page)
            await page.click("#stop")
            await eventually(lambda: not studio.hub.live, "the session ends")
            await eventually(lambda: not studio.connections.all(), "both connections end")
        assert await page.evaluate("window.tracks.map(track => track.readyState)") == ["ended"] * 3
        assert (
            await page.evaluate("[...document.querySelectorAll('video')].map(video => video.srcObject)") == [None] * 2
        )
        assert len(set(studio.hub.opened)) == 1  # the viewer's link stays good


async def test_stop_while_starting_leaves_nothing_behind(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready(script=KEEP_TRACKS)
        await page.evaluate("document.querySelector('#start').click(); document.querySelector('#stop').click()")
        await says(page, "Stopped")
        await page.wait_for_function("window.tracks.length > 0 && window.tracks[0].readyState === 'ended'")
        await page.click("#start")
        await says(page, "Connect")
        await page.click("#stop")
        await eventually(lambda: not studio.connections.all() and not studio.hub.live, "the half-made session ends")
        assert await page.evaluate("window.tracks.every(track => track.readyState === 'ended')")
        await page.click("#start")
        await painted(page)


async def test_the_session_ends_with_the_page(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        name = studio.hub.only().name
        told: list[str] = []
        find = studio.connections.publisher
        monkeypatch.setattr(studio.connections, "publisher", lambda name: told.append(name) or find(name))
        await page.goto("about:blank")
        await eventually(lambda: not studio.hub.live, "the session ends", deadline=5)
        await eventually(lambda: told == [name], "the page says so, and doesn't just vanish")


async def test_what_was_chosen_before_start_is_sent(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready()
        await page.fill("#prompt", "a castle")
        await slide(page, "#strength", 0.25)
        await page.fill("#seed", "4294967295")
        await slide(page, "#canny-low", 300)  # takes the high one along
        await page.click("#start")
        await painted(page)
        await arrives(
            studio, prompt="a castle", conditioning_scale=0.25, seed=4294967295, canny_low=300, canny_high=300
        )
        assert len(studio.hub.only().patches) == 1
        await page.click("#stop")
        await eventually(lambda: not studio.hub.live, "the session ends")
        await page.click("#start")
        await painted(page)
        await arrives(studio, prompt="a castle", conditioning_scale=0.25)


async def test_nothing_is_sent_when_nothing_was_chosen(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        await page.click("#random")
        await eventually(lambda: studio.hub.only().patches, "the seed arrives")
        assert [set(patch) for patch in studio.hub.only().patches] == [{"seed"}]


async def test_typing_is_gathered_and_enter_sends_at_once(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        text = "a red fox in the snow"
        await page.evaluate(
            """text => {
                const prompt = document.querySelector("#prompt");
                for (let length = 1; length <= text.length; length++) {
                    prompt.value = text.slice(0, length);
                    prompt.dispatchEvent(new Event("input", { bubbles: true }));
                }
                prompt.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", cancelable: true, bubbles: true }));
            }""",
            text,
        )
        await page.press("#prompt", "Enter")  # once more, with nothing new
        await page.click("#random")
        await eventually(lambda: len(studio.hub.only().patches) == 2, "the prompt and the seed arrive")
        assert studio.hub.only().patches[0] == {"prompt": text}
        assert await page.input_value("#prompt") == text


async def test_sliding_is_throttled_and_the_last_value_arrives(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        took = await page.evaluate("""() => {
            const strength = document.querySelector("#strength");
            const before = performance.now();
            for (let step = 0; step <= 100; step++) {
                strength.value = 1 - step / 100;
                strength.dispatchEvent(new Event("input", { bubbles: true }));
            }
            return performance.now() - before;
        }""")
        await arrives(studio, conditioning_scale=0)
        assert len(studio.hub.only().patches) <= 2 + took / 100  # the first, the last, and ten a second between


async def test_styles_by_select_by_card_and_by_words(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        await page.select_option("#preset", label="Woodcut")
        await arrives(studio, prompt=STYLES[2]["prompt"])
        assert await page.is_checked("#styles input >> nth=2")
        await page.click("#styles label >> nth=1")
        await arrives(studio, prompt=STYLES[1]["prompt"])
        assert await page.input_value("#preset") == "1"
        await page.fill("#prompt", "my own words")
        await arrives(studio, prompt="my own words")
        assert await page.input_value("#preset") == ""
        assert await page.locator("#styles input:checked").count() == 0


async def test_a_change_is_announced_with_the_frame_that_first_showed_it(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        await page.fill("#prompt", "first")
        await page.press("#prompt", "Enter")
        await page.wait_for_function("document.querySelector('#cue').dataset.id === '1'")
        first = int(await page.get_attribute("#cue", "data-seq") or "-1")
        await page.fill("#prompt", "second")
        await page.press("#prompt", "Enter")
        await page.wait_for_function("document.querySelector('#cue').dataset.id === '2'")
        second = int(await page.get_attribute("#cue", "data-seq") or "-1")
        assert 0 <= first < second
        assert f"picture {second}" in await page.inner_text("#cue")
        assert await page.evaluate("window.sdxs.visible") == {"id": 2, "seq": second}


async def test_a_seed_that_is_none_is_said_and_not_sent(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        for wrong in ("-1", "1.5", "4294967296", ""):
            await page.fill("#seed", wrong)
            assert await page.get_attribute("#seed", "aria-invalid") == "true"
            assert await page.is_visible("#seed-hint")
        await page.fill("#seed", "7")
        assert await page.is_hidden("#seed-hint")
        await arrives(studio, seed=7)
        assert all(patch.get("seed", 7) == 7 for patch in studio.hub.only().patches)


async def test_the_numbers_are_the_servers(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        latency = {"p50": 41.2, "p95": 63.9}
        studio.hub.only().tell_stats(fps_in=29.97, fps_out=24.51, frames_dropped=12, latency_ms=latency, model_ms=33.33)
        await page.wait_for_function("document.querySelector('[data-stat=dropped]').textContent === '12'")
        names = ("fps_in", "fps_out", "latency_p50", "latency_p95", "model_ms", "dropped")
        shown = [await page.inner_text(f"[data-stat={name}]") for name in names]
        assert shown == ["30.0", "24.5", "41", "64", "33.3", "12"]
        nothing = {"p50": None, "p95": None}
        studio.hub.only().tell_stats(fps_in=0.0, fps_out=0.0, frames_dropped=0, latency_ms=nothing, model_ms=None)
        await page.wait_for_function("document.querySelector('[data-stat=model_ms]').textContent === '–'")


async def test_changes_from_elsewhere_show_unless_somebody_is_at_the_field(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        session = studio.hub.only()
        await page.focus("#prompt")
        session.values.update(prompt="from the API", conditioning_scale=0.5)
        session.tell_stats()
        await page.wait_for_function("document.querySelector('#strength').value === '0.5'")
        assert await page.input_value("#prompt") == DEFAULTS["prompt"]
        await page.focus("#seed")
        session.tell_stats()
        await page.wait_for_function("document.querySelector('#prompt').value === 'from the API'")


async def test_another_camera_while_live(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live(script=KEEP_TRACKS)
        values = await page.eval_on_selector_all("#camera option", "options => options.map(option => option.value)")
        assert values[0] == ""
        assert len(values) >= 2
        await page.select_option("#camera", values[1])
        await page.wait_for_function("window.tracks.length === 2")
        before = len(studio.hub.only().pushed)
        await eventually(lambda: len(studio.hub.only().pushed) > before + 5, "pictures of the other camera come")
        assert await page.evaluate("window.tracks.map(track => track.readyState)") == ["ended", "live"]
        assert len(studio.hub.opened) == 1


async def test_two_tabs_get_a_session_each(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        async with page.context.expect_page() as opening:
            await page.evaluate("window.open(location.href)")  # takes the tab's storage, and its session's name, along
        other = await opening.value
        await says(other, "Ready")
        await other.click("#start")
        await painted(other)
        assert len(studio.hub.live) == 2
        await asyncio.gather(painted(page), painted(other))


@pytest.mark.parametrize(("width", "height"), [(360, 740), (820, 1180), (1280, 800), (1920, 1080)])
async def test_it_fits_every_screen(browser: Browser, width: int, height: int) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready()
        await page.set_viewport_size({"width": width, "height": height})
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        for control in ("#start", "#stop", "#output-frame"):
            box = await page.locator(control).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= height, f"{control} is below the fold"
        sizes = await page.eval_on_selector_all(
            "button, select:not(#preset), textarea, input:not([type=radio])",
            "all => all.filter(each => each.checkVisibility({ visibilityProperty: true }))"
            ".map(each => [each.id, each.getBoundingClientRect().height])",
        )
        assert all(size >= 44 for _, size in sizes), sizes


async def test_every_field_has_a_label(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready()
        unnamed = await page.eval_on_selector_all(
            "input, select:not([aria-hidden]), textarea, button",
            "all => all.filter(each => !(each.labels?.length || each.ariaLabel || each.textContent.trim()))"
            ".map(each => each.outerHTML)",
        )
        assert unnamed == []


async def test_the_page_asks_nobody_but_its_server(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        asked: list[str] = []
        page = await studio.page("/healthz")
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(studio.url)
        await page.wait_for_function("document.querySelectorAll('#styles input').length > 0")
        assert asked
        assert all(url.startswith(studio.url) for url in asked), asked


KEEP_CONNECTIONS = """
    window.connections = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...options) {
            super(...options);
            window.connections.push(this);
        }
    };
"""


async def test_pictures_stay_large(browser: Browser) -> None:
    """A browser shrinks them when the line or the processor seems slow, and edges blur; so it is told not to."""
    async with open_studio(browser) as studio:
        page = await studio.live(script=KEEP_CONNECTIONS)
        (told,) = await page.evaluate(
            "window.connections[0].getSenders().map(sender => sender.getParameters().degradationPreference)"
        )
        assert told == "maintain-resolution"
        session = studio.hub.only()
        await eventually(lambda: len(session.pushed) >= 60, "two seconds of pictures")
        assert {frame.image.shape for frame in session.pushed} == {(512, 512, 3)}
