"""Whatever is in the way, the page says it in words, with what to do, and lets the camera go."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page

from realtime.bench.browser import chromium
from streaming.service import Json
from tests.browser.studio import StudioHub, open_studio, painted, says
from tests.streaming.fakes import FakeSession
from tests.webrtc import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

#: Every track that the camera ever gave, for a look at whether it was stopped.
KEEP_TRACKS = """
    window.tracks = [];
    const devices = navigator.mediaDevices;
    const ask = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (constraints) => {
        const stream = await ask(constraints);
        window.tracks.push(...stream.getTracks());
        return stream;
    };
"""


def refuse(error: str, message: str = "") -> str:
    return f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('{message}', '{error}'); }};"


async def can_start(page: Page) -> bool:
    return await page.get_attribute("#start", "aria-disabled") != "true" and await page.is_disabled("#stop")


async def test_no_camera() -> None:
    async with (
        chromium(flags=("--use-fake-device-for-media-stream=device-count=0",)) as browser,
        open_studio(browser) as studio,
    ):
        page = await studio.ready()
        await page.click("#start")
        await says(page, "No camera found")
        await says(page, "Plug one in")
        assert await can_start(page)
        assert not studio.hub.opened


async def test_permission_denied() -> None:
    async with chromium(flags=("--use-fake-ui-for-media-stream=deny",)) as browser, open_studio(browser) as studio:
        page = await studio.ready()
        await page.click("#start")
        await says(page, "The camera isn't allowed here")
        await says(page, "choose Allow")
        assert await can_start(page)
        assert not studio.hub.opened


@pytest.mark.parametrize(
    ("error", "message", "words"),
    [
        ("NotReadableError", "", "Another program holds it"),
        ("AbortError", "", "Another program holds it"),
        ("NotAllowedError", "Permission denied by system", "system's privacy settings"),
        ("SecurityError", "", "a tab of its own"),
        ("TypeError", "surprise", "surprise"),
    ],
)
async def test_a_camera_that_cannot_be_had(browser: Browser, error: str, message: str, words: str) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready(script=refuse(error, message))
        await page.click("#start")
        await says(page, words)
        assert await can_start(page)


async def test_a_chosen_camera_that_is_gone_is_replaced_by_another(browser: Browser) -> None:
    script = """
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (constraints) => {
            if (constraints.video.deviceId) throw new DOMException("", "OverconstrainedError");
            return ask(constraints);
        };
    """
    async with open_studio(browser) as studio:
        page = await studio.ready(script=script)
        await page.evaluate("document.querySelector('#camera').append(new Option('Gone', 'gone', true, true))")
        await page.click("#start")
        await painted(page)


async def test_without_https_the_page_names_both_ways_out() -> None:
    async with (
        chromium(flags=("--host-resolver-rules=MAP studio.test 127.0.0.1",)) as browser,
        open_studio(browser, token="secret") as studio,
    ):
        page = await studio.ready("/?token=secret", host="studio.test")
        assert not await page.evaluate("window.isSecureContext")
        for _ in range(2):  # said at once, and again when Start is pressed
            await says(page, "only over HTTPS")
            await says(page, f"http://localhost:{studio.url.rsplit(':', 1)[1].strip('/')}")
            await says(page, "--tls-cert")
            await page.click("#start")
        assert await can_start(page)


async def test_without_webrtc(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready(script="delete window.RTCPeerConnection")
        await says(page, "can't do WebRTC")
        viewer = await studio.page("/view/any", script="delete window.RTCPeerConnection")
        await says(viewer, "can't do WebRTC")


async def test_no_free_place_says_when_to_try_again(browser: Browser) -> None:
    async with open_studio(browser, places=0) as studio:
        page = await studio.ready(script=KEEP_TRACKS)
        await page.click("#start")
        await says(page, "No free place right now")
        await says(page, "All places are taken")
        await says(page, "Press Start again in")
        assert await can_start(page)
        assert await page.evaluate("window.tracks.map(track => track.readyState)") == ["ended"]
        await says(page, "You can press Start now.")
        studio.hub.places = 1
        await page.click("#start")
        await painted(page)


async def test_warming_up_is_waited_for(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready()
        studio.hub.waiting = "The model is still being loaded."
        await page.click("#start")
        await says(page, "Warming up…")
        await says(page, "The model is still being loaded.")
        studio.hub.waiting = None
        await painted(page)
        assert len(studio.hub.opened) == 1


async def test_a_page_opened_while_the_model_loads_fills_itself(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streaming.errors import NoFreePlace

    about = StudioHub.about

    def not_yet(hub: StudioHub) -> Json:
        raise NoFreePlace("The model is still being loaded.")

    async with open_studio(browser) as studio:
        monkeypatch.setattr(StudioHub, "about", not_yet)
        page = await studio.page()
        await says(page, "Warming up…")
        await page.fill("#prompt", "mine")
        monkeypatch.setattr(StudioHub, "about", about)
        await says(page, "Ready")
        assert await page.input_value("#prompt") == "mine"
        assert await page.input_value("#strength") == "1"
        assert "inverting" in await page.inner_text("#model")


async def test_a_server_that_does_not_answer(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready(script=KEEP_TRACKS)
        await page.route("**/whip*", lambda route: route.abort())
        await page.click("#start")
        await says(page, "The server doesn't answer")
        await says(page, "press Start")
        assert await can_start(page)
        assert await page.evaluate("window.tracks[0].readyState") == "ended"


async def test_a_session_that_the_server_ends_says_why(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live(script=KEEP_TRACKS)
        session = studio.hub.only()
        studio.hub.close(session.name, reason="The operator needs the place.")
        await says(page, "The operator needs the place.")
        assert await can_start(page)
        assert await page.evaluate("window.tracks[0].readyState") == "ended"


async def test_a_lost_connection_comes_back_by_itself(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        await page.fill("#prompt", "kept")
        first = studio.hub.only()
        await eventually(lambda: first.values["prompt"] == "kept", "the prompt arrives")
        name = first.name
        await page.evaluate("document.querySelector('#status').dataset.seen = ''")
        # The connection breaks without a word.
        monkeypatch.setattr(studio.connections.publisher(name).control, "tell", lambda event: None)
        await studio.connections.publisher(name).connection.close()
        await says(page, "Connection lost")
        await painted(page)
        assert studio.hub.opened == [name, name]
        await eventually(lambda: studio.hub.only().values["prompt"] == "kept", "the new session gets the settings")


async def test_a_server_that_stays_away_is_given_up_in_words(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_studio(browser) as studio:
        page = await studio.ready(script=KEEP_TRACKS)
        await page.clock.install()
        await page.click("#start")
        await painted(page)
        name = studio.hub.only().name
        await page.route("**/whip*", lambda route: route.abort())
        monkeypatch.setattr(studio.connections.publisher(name).control, "tell", lambda event: None)
        await studio.connections.publisher(name).connection.close()
        await says(page, "Connection lost")
        await page.clock.run_for(30_000)
        await says(page, "The server doesn't answer")
        assert await can_start(page)
        assert await page.evaluate("window.tracks[0].readyState") == "ended"


async def test_a_camera_that_goes_away(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live(script=KEEP_TRACKS)
        await page.evaluate("window.tracks[0].dispatchEvent(new Event('ended'))")
        await says(page, "The camera went away")
        await eventually(lambda: not studio.hub.live, "the session ends")
        assert await can_start(page)


async def test_a_refused_setting_is_said_and_the_stream_goes_on(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        await page.fill("#prompt", "forbidden")
        await says(page, "This prompt isn't taken.")
        before = studio.hub.only().painted
        await eventually(lambda: studio.hub.only().painted > before + 5, "pictures still come")
        assert await page.evaluate("window.sdxs.state") == "live"


async def test_the_token_is_asked_for_until_it_is_right(browser: Browser) -> None:
    async with open_studio(browser, token="secret") as studio:
        page = await studio.page()
        await page.wait_for_selector("#token-dialog[open]")
        await page.fill("#token", "wrong")
        await page.press("#token", "Enter")
        await page.wait_for_function("document.querySelector('#token-hint').textContent.includes(\"wasn't accepted\")")
        await page.fill("#token", "secret")
        await page.press("#token", "Enter")
        await says(page, "Ready")
        await page.click("#start")
        await painted(page)
        await page.reload()  # kept for this tab
        await says(page, "Ready")
        assert not await page.is_visible("#token-dialog")


async def test_no_token_is_said_in_words(browser: Browser) -> None:
    async with open_studio(browser, token="secret") as studio:
        page = await studio.page()
        await page.wait_for_selector("#token-dialog[open]")
        await page.keyboard.press("Escape")
        await says(page, "The server wants its token")


@pytest.mark.parametrize("address", ["/?token=secret&session=stage", "/?session=stage#token=secret"])
async def test_a_token_in_the_address_is_used_and_taken_out_of_it(browser: Browser, address: str) -> None:
    async with open_studio(browser, token="secret") as studio:
        page = await studio.live(address)
        assert "secret" not in page.url
        assert list(studio.hub.live) == ["stage"]


async def test_a_fixed_name_that_is_taken_is_said(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        studio.hub.live["stage"] = FakeSession("stage")
        page = await studio.ready("/?session=stage")
        await page.click("#start")
        await says(page, "That name is taken")
        assert await can_start(page)
