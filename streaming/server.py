"""The aiohttp application: the page, WebRTC in and out, the control API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from streaming.access import cross_origin, require_loopback_host, require_token
from streaming.api import ApiRoutes
from streaming.connections import Connections
from streaming.peer import PeerOptions
from streaming.problem import problems
from streaming.service import SessionHub
from streaming.sessions_api import SessionRoutes
from streaming.whep import WhepRoutes
from streaming.whip import WhipRoutes

#: Bytes of the largest body taken.
MAX_BODY = 1 << 20

CONNECTIONS = web.AppKey("connections", Connections)

# Said here because a system's own table may call a script plain text (Windows), and browsers then refuse it.
_TEXT_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_WEB = Path(__file__).parent / "web"


def make_app(
    hub: SessionHub,
    *,
    token: str | None = None,
    allow_origins: Sequence[str] = (),
    options: PeerOptions | None = None,
    web_root: Path = _WEB,
) -> web.Application:
    """The application for one hub.

    ``token``: what clients must show; None is for a loopback address only, and then requests under another host name
    are refused. ``allow_origins``: origins (``https://example.org``) whose pages may use the API. When the application
    shuts down every connection is closed, within 5 s. The hub is the caller's to close.
    """
    connections = Connections(hub, options or PeerOptions())
    preflight, add_headers = cross_origin(allow_origins)
    guard = require_loopback_host if token is None else require_token(token)
    app = web.Application(middlewares=[problems, preflight, guard], client_max_size=MAX_BODY)
    app[CONNECTIONS] = connections
    app.on_response_prepare.append(add_headers)
    api = (ApiRoutes(hub), SessionRoutes(hub))
    for room in (WhipRoutes(connections), WhepRoutes(connections), *api, PageRoutes(web_root)):
        app.add_routes(room.routes())

    async def close(_: web.Application) -> None:
        await connections.close()

    app.on_shutdown.append(close)
    return app


class PageRoutes:
    """The studio page, the bare viewer, the element to embed, and what they load. Open to everybody."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.index),
            web.get("/view/{session}", self.viewer),
            web.get("/sdxs-stream.js", self.element),
            web.get("/static/{file}", self.static),
        ]

    async def index(self, request: web.Request) -> web.FileResponse:
        return self._file("index.html")

    async def viewer(self, request: web.Request) -> web.FileResponse:
        return self._file("viewer.html")

    async def element(self, request: web.Request) -> web.FileResponse:
        return self._file("sdxs-stream.js")

    async def static(self, request: web.Request) -> web.FileResponse:
        return self._file(request.match_info["file"])

    def _file(self, name: str) -> web.FileResponse:
        # By name from the folder's list, so that no name can lead out of it.
        for path in self._root.iterdir():
            if path.name == name and path.is_file():
                headers = {"Cache-Control": "no-cache"}
                if path.suffix in _TEXT_TYPES:
                    headers["Content-Type"] = f"{_TEXT_TYPES[path.suffix]}; charset=utf-8"
                return web.FileResponse(path, headers=headers)
        raise web.HTTPNotFound
