"""The bare viewer and the element to embed: they play, come back by themselves, and say little."""

from __future__ import annotations

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page

from tests.browser.studio import open_studio, painted
from tests.webrtc import eventually, serve

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

VIDEO = "document.querySelector('sdxs-stream').video"
MOVES = f"{VIDEO}.videoWidth > 0 && {VIDEO}.getVideoPlaybackQuality().totalVideoFrames > 3"


async def plays(page: Page) -> None:
    await page.wait_for_function(MOVES)


async def is_silent(viewer: Page) -> None:
    await viewer.wait_for_function("document.body.innerText.trim() === ''")


async def test_the_viewer_is_only_the_picture(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.live()
        link = await page.input_value("#viewer-link")
        assert link.endswith(f"/view/{studio.hub.only().name}")
        viewer = await studio.page(link)
        await plays(viewer)
        await is_silent(viewer)
        for element in ("html", "body", "sdxs-stream"):
            assert await viewer.evaluate("e => getComputedStyle(document.querySelector(e)).cursor", element) == "none"
        box = await viewer.locator("sdxs-stream video").bounding_box()
        assert box == {"x": 0, "y": 0, "width": 1280, "height": 800}


@pytest.mark.parametrize(("query", "fit"), [("", "contain"), ("?fit=cover", "cover"), ("?fit=contain", "contain")])
async def test_the_viewer_fits_as_asked(browser: Browser, query: str, fit: str) -> None:
    async with open_studio(browser) as studio:
        viewer = await studio.page(f"/view/anybody{query}")
        await viewer.wait_for_function(f"getComputedStyle({VIDEO}).objectFit === '{fit}'")


async def test_the_viewer_waits_for_its_session_and_for_its_return(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        viewer = await studio.page("/view/stage")
        await viewer.wait_for_function("document.querySelector('#status').textContent.includes('There is no session')")
        page = await studio.live("/?session=stage")
        await plays(viewer)
        await is_silent(viewer)
        await page.click("#stop")
        # Over: black, and no words over a show.
        await viewer.wait_for_function("document.querySelector('#stream').style.visibility === 'hidden'")
        assert await viewer.inner_text("#status") == ""
        await page.click("#start")
        await viewer.wait_for_function("document.querySelector('#stream').style.visibility === 'visible'")
        await plays(viewer)


async def test_the_viewer_survives_a_broken_connection(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        await studio.live()
        session = studio.hub.only()
        viewer = await studio.page(f"/view/{session.name}")
        await plays(viewer)
        before = {peer.id for peer in studio.connections.all()}
        (mine,) = [peer for peer in studio.connections.all() if peer.role == "play"][1:]
        await mine.connection.close()
        await eventually(lambda: {peer.id for peer in studio.connections.all()} - before, "the viewer comes back")
        await eventually(lambda: len(session.viewers) == 2, "it gets pictures again")
        assert await viewer.evaluate("document.querySelector('#stream').style.visibility") != "hidden"


async def test_the_viewers_link_carries_the_token_and_without_it_says_so(browser: Browser) -> None:
    async with open_studio(browser, token="secret") as studio:
        page = await studio.live("/?token=secret")
        link = await page.input_value("#viewer-link")
        assert link.endswith("#token=secret")
        await plays(await studio.page(link))
        stranger = await studio.page(f"/view/{studio.hub.only().name}")
        await stranger.wait_for_function("document.querySelector('#status').textContent.includes('wants its token')")


async def test_a_viewer_that_is_closed_says_so(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_studio(browser) as studio:
        await studio.live()
        session = studio.hub.only()
        viewer = await studio.page(f"/view/{session.name}")
        await eventually(lambda: len(session.viewers) == 2, "the viewer plays")
        told: list[str] = []
        find = studio.connections.viewer
        monkeypatch.setattr(studio.connections, "viewer", lambda name, id: told.append(name) or find(name, id))
        await viewer.goto("about:blank")
        await eventually(lambda: len(session.viewers) == 1, "the viewer has left")
        await eventually(lambda: told == [session.name], "it says so, and doesn't just vanish")


EMBED = """<!doctype html><title>Somebody's page</title>
<script type="module" src="{url}/sdxs-stream.js"></script>
<script>
  window.heard = [];
  const hear = (event) => event.target.localName === "sdxs-stream" && window.heard.push([event.type, event.detail]);
  for (const type of ["playing", "ended", "error"]) addEventListener(type, hear, true);
</script>
<sdxs-stream src="{url}/whep/{name}" token="{token}" style="width: 320px; aspect-ratio: 1"></sdxs-stream>"""


class Site:
    """Another web site, with one page."""

    html = ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self.page)
        return app

    async def page(self, request: web.Request) -> web.Response:
        return web.Response(text=self.html, content_type="text/html")


async def test_the_element_plays_in_another_sites_page(browser: Browser) -> None:
    site = Site()
    async with (
        serve(site.app()) as other,
        open_studio(browser, token="secret", allow_origins=[other.url]) as studio,
    ):
        await studio.live("/?token=secret&session=stage")
        site.html = EMBED.format(url=studio.url, name="stage", token="secret")
        guest = await studio.page(other.url)
        await plays(guest)
        await guest.wait_for_function("window.heard.length > 0")
        assert (await guest.evaluate("window.heard"))[0] == ["playing", None]
        session = studio.hub.only()
        assert len(session.viewers) == 2

        # close() is for good, and can be called twice.
        await guest.evaluate("const e = document.querySelector('sdxs-stream'); e.close(); e.close();")
        await eventually(lambda: len(session.viewers) == 1, "the viewer has left")
        # Another src starts again; leaving the page's tree stops.
        await guest.evaluate("document.querySelector('sdxs-stream').src += '?again'")
        await eventually(lambda: len(session.viewers) == 2, "it plays again")
        await guest.evaluate("document.querySelector('sdxs-stream').remove()")
        await eventually(lambda: len(session.viewers) == 1, "the viewer has left again")


async def test_the_element_tells_what_is_wrong(browser: Browser) -> None:
    site = Site()
    async with serve(site.app()) as other:
        async with open_studio(browser, token="secret", allow_origins=[other.url]) as studio:
            site.html = EMBED.format(url=studio.url, name="stage", token="wrong")
            guest = await studio.page(other.url)
            await guest.wait_for_function("window.heard.length > 0")
            kind, detail = (await guest.evaluate("window.heard"))[0]
            assert (kind, detail["status"], detail["final"]) == ("error", 401, True)
            assert "token" in detail["message"]

            site.html = EMBED.format(url=studio.url, name="stage", token="secret")
            guest = await studio.page(other.url)
            await guest.wait_for_function("window.heard.length > 1")  # it goes on trying
            kind, detail = (await guest.evaluate("window.heard"))[0]
            assert (kind, detail["status"], detail["final"]) == ("error", 404, False)

            publisher = await studio.live("/?token=secret&session=stage")
            await plays(guest)
            await publisher.click("#stop")
            await guest.wait_for_function("window.heard.some(([type]) => type === 'ended')")
            ended = next(detail for type, detail in await guest.evaluate("window.heard") if type == "ended")
            assert "stopped" in ended["reason"]
        async with open_studio(browser) as studio:
            await painted(await studio.live("/?session=stage"))
            site.html = EMBED.format(url=studio.url, name="stage", token="")
            guest = await studio.page(other.url)  # an origin that isn't allowed: not even the script loads
            assert not await guest.evaluate("!!customElements.get('sdxs-stream')")
