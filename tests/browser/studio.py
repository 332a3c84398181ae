"""What the tests of the page alone need: the real server over a hub that paints by inverting, and a page to drive."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from numpy.typing import NDArray
from playwright.async_api import Browser, Page
from yarl import URL

from streaming.errors import BadRequest, NotADrawing
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
    "prompt_b": "",
    "blend": 0.0,
    "seed": 0,
    "seed_b": 0,
    "seed_blend": 0.0,
    "walk": "none",
    "walk_seconds": 8.0,
    "conditioning_scale": 1.0,
    "control": "canny",
    "extra_controls": {},
    "init_strength": 0.0,
    "lora": "",
    "lora_scale": 1.0,
    "canny_low": 100,
    "canny_high": 200,
    "sketch_detector": "lineart_standard",
    "depth_estimator": "midas",
    "depth_every": 2,
    "depth_smoothing": 0.9,
    "steadiness": 0.9,
    "skip_similar": 0.0,
    "latency_target": 0,
}
#: What a session of each mode starts from where that differs.
STARTS: dict[str, Json] = {
    "camera": {},
    "draw": {"control": "sketch", "sketch_detector": "drawn", "conditioning_scale": 0.8},
    "imagine": {"control": "none"},
}
#: Height and width of the pictures that sessions without a camera paint.
SIZE = (256, 256)


class StudioSession(FakeSession):
    """Names the frame that first showed a change, keeps every patch and drawing, and refuses the prompt "forbidden".

    Without a camera it feeds itself: the drawing, or a grey that the seed picks.
    """

    def __init__(self, name: str, mode: str = "camera") -> None:
        super().__init__(name)
        self.mode = mode
        self.values = {**DEFAULTS, **STARTS[mode]}
        self.patches: list[Json] = []
        self.drawings: list[NDArray[np.uint8]] = []
        self._unseen: list[int] = []
        self._feeder = None if mode == "camera" else asyncio.ensure_future(self._feed())

    def draw(self, picture: NDArray[np.uint8]) -> Json:
        if self.mode != "draw":
            raise NotADrawing("This session paints a camera's pictures.")
        self.drawings.append(picture)
        self.change_count += 1
        self._unseen.append(self.change_count)
        return {"id": self.change_count}

    def status(self) -> Json:
        return {**super().status(), "mode": self.mode, "settings": self.settings()}

    def stop(self) -> None:
        if self._feeder is not None:
            self._feeder.cancel()

    async def _feed(self) -> None:
        for seq in itertools.count():
            grey = np.full((*SIZE, 3), self.values["seed"] % 256, np.uint8)
            image = self.drawings[-1] if self.drawings else grey
            self.push(Frame(image=image, seq=seq, pts=seq * 4500))
            await asyncio.sleep(0.05)  # twenty pictures a second

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
    """Counts the sessions that were ever opened. ``controls`` and ``loras`` are what the model is said to have."""

    def __init__(self, places: int = 10) -> None:
        super().__init__(places)
        self.opened: list[str] = []
        self.controls = ["canny"]
        self.loras: list[str] = []
        self.subjects: list[str] = []
        self.note = ""

    def about(self) -> Json:
        return {
            "model": "inverting",
            "note": self.note,
            "backend": "numpy",
            "device": "cpu",
            "size": list(SIZE),
            "controls": self.controls,
            "loras": self.loras,
            "subjects": self.subjects,
            "styles": STYLES,
            "defaults": DEFAULTS,
        }

    def open(self, name: str | None, *, mode: str = "camera", settings: object = None) -> FakeSession:
        session = super().open(name)
        self.live[session.name] = StudioSession(session.name, mode)
        self.opened.append(session.name)
        if settings:
            self.live[session.name].change(settings)
        return self.live[session.name]

    def close(self, name: str, *, reason: str) -> None:
        session = self.live.get(name)
        super().close(name, reason=reason)
        if isinstance(session, StudioSession):
            session.stop()

    def close_all(self) -> None:
        for name in list(self.live):
            self.close(name, reason="The test is over.")

    def only(self) -> StudioSession:
        """The one session there is."""
        (session,) = self.live.values()
        assert isinstance(session, StudioSession)
        return session


class Desk:
    """Where drawings arrive: it can hold them up, and counts how many are on their way."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.here = 0
        self.most_here = 0

    def middleware(self) -> Middleware:
        @web.middleware
        async def hold_up(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not request.path.endswith("/drawing"):
                return await handler(request)
            self.here += 1
            self.most_here = max(self.most_here, self.here)
            try:
                await self.open.wait()
                return await handler(request)
            finally:
                self.here -= 1

        return hold_up


class Studio:
    """A server, its hub, and pages opened on it."""

    def __init__(self, browser: Browser, hub: StudioHub, url: str, app: web.Application, desk: Desk) -> None:
        self.browser = browser
        self.hub = hub
        self.url = url
        self.connections = app[CONNECTIONS]
        self.desk = desk
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
    browser: Browser,
    *,
    token: str | None = None,
    places: int = 10,
    allow_origins: Sequence[str] = (),
    controls: Sequence[str] = ("canny",),
    loras: Sequence[str] = (),
) -> AsyncIterator[Studio]:
    """The real server around a StudioHub. At the end no page may have met an error that nobody caught."""
    hub = StudioHub(places)
    hub.controls, hub.loras = list(controls), list(loras)
    app = make_app(hub, token=token, allow_origins=allow_origins)
    desk = Desk()
    app.middlewares.append(desk.middleware())
    async with serve(app) as server:
        studio = Studio(browser, hub, str(URL(server.url).with_host("localhost")), app, desk)
        try:
            yield studio
        finally:
            for context in browser.contexts:
                await context.close()
            hub.close_all()
    assert not studio.errors


async def painted(page: Page) -> None:
    """Wait until the page shows painted pictures."""
    await says(page, "epainted" if await page.evaluate("window.sdxs.mode") != "imagine" else "paints your words")
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
