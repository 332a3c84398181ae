"""The control API: sessions, their settings, metrics and health, as JSON over HTTP."""

from __future__ import annotations

from aiohttp import web

from streaming.body import read_json
from streaming.problem import Problem
from streaming.service import SessionHub


class ApiRoutes:
    """``/api/…``, ``/metrics`` and ``/healthz``."""

    def __init__(self, hub: SessionHub) -> None:
        self._hub = hub

    def routes(self) -> list[web.RouteDef]:
        session = "/api/sessions/{session}"
        return [
            web.get("/api/about", self.about),
            web.get("/api/sessions", self.sessions),
            web.get(session, self.session),
            web.delete(session, self.end),
            web.get(session + "/settings", self.settings),
            web.patch(session + "/settings", self.change),
            web.get("/metrics", self.metrics),
            web.get("/healthz", self.health),
        ]

    async def about(self, request: web.Request) -> web.Response:
        return web.json_response(self._hub.about())

    async def sessions(self, request: web.Request) -> web.Response:
        return web.json_response([session.status() for session in self._hub.sessions()])

    async def session(self, request: web.Request) -> web.Response:
        return web.json_response(self._hub.get(request.match_info["session"]).status())

    async def end(self, request: web.Request) -> web.Response:
        """204; publisher and viewers are told ``ended`` and closed."""
        name = self._hub.get(request.match_info["session"]).name
        self._hub.close(name, reason="The session was ended through the API.")
        return web.Response(status=204)

    async def settings(self, request: web.Request) -> web.Response:
        return web.json_response(self._hub.get(request.match_info["session"]).settings())

    async def change(self, request: web.Request) -> web.Response:
        """``{id, settings}``; 400 with one sentence if a value doesn't fit, and then nothing is changed."""
        session = self._hub.get(request.match_info["session"])
        return web.json_response(session.change(await read_json(request)))

    async def metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._hub.metrics()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def health(self, request: web.Request) -> web.Response:
        """200 once a session can be admitted; until then 503 with what is waited for."""
        waiting = self._hub.ready()
        if waiting is not None:
            raise Problem(503, waiting, headers={"Retry-After": "2"})
        return web.json_response({"status": "ok"})
