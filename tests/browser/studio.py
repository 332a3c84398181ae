"""What the tests of the page alone need: the real server over a hub that paints by inverting, and a page to drive."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from playwright.async_api import Browser, Page
from yarl import URL

from streaming.errors import BadRequest
from streaming.frame import Frame
from streaming.server import CONNECTIONS, make_app
from streaming.service import Json
from tests.streaming.fakes import FakeHub, FakeSession
from tests.webrtc import serve

STYLES = [
    {"name": "Ink", "prompt": "ink drawing"},
    {"name": "Neon", "prompt": "neon lights at night"},
    {"name": "Woodcut", "prompt": "woodcut print"},
]
DEFAULTS = {
    "prompt": "ink drawing",
    "seed": 0,
    "conditioning_scale": 1.0,
    "control": "canny",
    "canny_low": 100,
    "canny_high": 200,
}


class StudioSession(FakeSession):
    """Names the frame that first showed a change, keeps every patch, and refuses the prompt "forbidden"."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.values = dict(DEFAULTS)
        self.patches: list[Json] = []
        self._unseen: list[int] = []

    def change(self, patch: object) -> Json:
        if isinstance(patch, dict) and patch.get("prompt") == "forbidden":
            raise BadRequest("This prompt isn't taken.")
        answer = super().change(patch)
        assert isinstance(patch, dict)
        self.patches.append(dict(patch))
        self._unseen.append(answer["id"])
        return answer

    def deliver(self, frame: Frame) -> None:
        super().deliver(frame)
        seen, self._unseen = self._unseen, []
        for change in seen:
            self.tell({"type": "visible", "id": change, "seq": frame.seq})

    def tell_stats(self, **numbers: Any) -> None:
        self.tell({"type": "stats", "name": self.name, "settings": self.settings(), **numbers})


class StudioHub(FakeHub):
    """Counts the sessions that were ever opened."""

    def __init__(self, places: int = 10) -> None:
        super().__init__(places)
        self.opened: list[str] = []

    def about(self) -> Json:
        return {
            "model": "inverting",
            "backend": "numpy",
            "device": "cpu",
            "size": [256, 256],
            "controls": ["canny"],
            "styles": STYLES,
            "defaults": DEFAULTS,
        }

    def open(self, name: str | None) -> FakeSession:
        session = super().open(name)
        self.live[session.name] = StudioSession(session.name)
        self.opened.append(session.name)
        return self.live[session.name]

    def only(self) -> StudioSession:
        """The one session there is."""
        (session,) = self.live.values()
        assert isinstance(session, StudioSession)
        return session


class Studio:
    """A server, its hub, and pages opened on it."""

    def __init__(self, browser: Browser, hub: StudioHub, url: str, connections: Any) -> None:
        self.browser = browser
        self.hub = hub
        self.url = url
        self.connections = connections
        self.errors: list[str] = []

    async def page(self, path: str = "/", *, script: str | None = None, host: str | None = None) -> Page:
        """A page in a profile of its own; ``script`` runs before the page's own."""
        context = await self.browser.new_context(viewport={"width": 1280, "height": 800})
        page = await context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        if script:
            await page.add_init_script(script)
        url = URL(self.url) if host is None else URL(self.url).with_host(host)
        await page.goto(str(url.join(URL(path))))
        return page

    async def ready(self, path: str = "/", **options: Any) -> Page:
        """A studio page that knows what the server runs."""
        page = await self.page(path, **options)
        await page.wait_for_function("document.querySelectorAll('#styles input').length > 0")
        return page

    async def live(self, path: str = "/", **options: Any) -> Page:
        """A studio page with a painted picture on it."""
        page = await self.ready(path, **options)
        await page.click("#start")
        await painted(page)
        return page


@contextlib.asynccontextmanager
async def open_studio(
    browser: Browser, *, token: str | None = None, places: int = 10, allow_origins: Sequence[str] = ()
) -> AsyncIterator[Studio]:
    """The real server around a StudioHub. At the end no page may have met an error that nobody caught."""
    hub = StudioHub(places)
    app = make_app(hub, token=token, allow_origins=allow_origins)
    async with serve(app) as server:
        studio = Studio(browser, hub, str(URL(server.url).with_host("localhost")), app[CONNECTIONS])
        try:
            yield studio
        finally:
            for context in browser.contexts:
                await context.close()
    assert not studio.errors


async def painted(page: Page) -> None:
    """Wait until the page shows painted pictures."""
    await says(page, "Every picture is repainted")
    await page.wait_for_function("document.querySelector('#output').videoWidth > 0")


async def says(page: Page, words: str) -> None:
    """Wait until the status line contains these words. Fails with what it says instead."""
    try:
        await page.wait_for_function(
            "words => document.querySelector('#status').textContent.includes(words)", arg=words, timeout=40_000
        )
    except Exception:
        status = await page.inner_text("#status")
        raise AssertionError(f"The page says {status!r}, not {words!r}") from None
