"""Sessions without a camera over HTTP: opening one, and giving it a drawing."""

from __future__ import annotations

import asyncio
import weakref

from aiohttp import web

from streaming.body import read_bytes, read_json
from streaming.errors import BadRequest
from streaming.picture import decode_picture
from streaming.problem import Problem
from streaming.service import LiveSession, SessionHub

#: Bytes of the largest drawing taken, and pixels.
MAX_DRAWING = 4 << 20
MAX_DRAWING_PIXELS = 4096 * 4096

_FORMATS = {"image/png": "PNG", "image/webp": "WEBP", "image/jpeg": "JPEG"}
_FIELDS = ("mode", "name", "settings")
_MODES = ("draw", "imagine")


class SessionRoutes:
    """``POST /api/sessions`` and ``PUT /api/sessions/NAME/drawing``."""

    def __init__(self, hub: SessionHub) -> None:
        self._hub = hub
        # Drawings of one session are decoded one after the other, so that the last to come is the last to be shown.
        self._turns: weakref.WeakKeyDictionary[LiveSession, asyncio.Lock] = weakref.WeakKeyDictionary()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/sessions", self.open),
            web.put("/api/sessions/{session}/drawing", self.draw),
        ]

    async def open(self, request: web.Request) -> web.Response:
        """``{mode, name?, settings?}``: 201 with the session's Location and row; 400, 409 or 503 with one sentence."""
        asked = await read_json(request)
        if not isinstance(asked, dict):
            raise BadRequest('Send a JSON object such as {"mode": "imagine"}.')
        for field in asked:
            if field not in _FIELDS:
                raise BadRequest(f"There is no field {field!r}; a new session takes {', '.join(_FIELDS)}.")
        mode, name = asked.get("mode"), asked.get("name")
        if mode not in _MODES:
            raise BadRequest("The mode is 'draw' or 'imagine'; a camera's session is made by publishing it to /whip.")
        if name is not None and not isinstance(name, str):
            raise BadRequest("The name must be a string; leave it out for a fresh one.")
        session = self._hub.open(name, mode=mode, settings=asked.get("settings"))
        location = {"Location": f"/api/sessions/{session.name}"}
        return web.json_response(session.status(), status=201, headers=location)

    async def draw(self, request: web.Request) -> web.Response:
        """A PNG, WebP or JPEG: ``{id}``, and the event ``visible`` follows; 400, 409, 413 or 415 with one sentence."""
        session = self._hub.get(request.match_info["session"])
        if request.content_type not in _FORMATS:
            takes = ", ".join(_FORMATS)
            raise Problem(415, f"Send the drawing as one of {takes}.", headers={"Accept": takes})
        formats = (_FORMATS[request.content_type],)
        body = await read_bytes(request, most=MAX_DRAWING, what="The drawing")
        async with self._turns.setdefault(session, asyncio.Lock()):
            picture = await asyncio.to_thread(decode_picture, body, formats=formats, max_pixels=MAX_DRAWING_PIXELS)
        # It may have ended meanwhile.
        return web.json_response(self._hub.get(session.name).draw(picture))
