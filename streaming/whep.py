"""WHEP, the WebRTC-HTTP egress protocol (draft-ietf-wish-whep): a viewer plays a session's painted video."""

from __future__ import annotations

from aiohttp import web

from streaming import signalling
from streaming.connections import Connections


class WhepRoutes:
    """``POST /whep/SESSION``, then ``DELETE`` and ``PATCH`` on the Location, ``/whep/SESSION/VIEWER``."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/whep/{session}", self.post),
            web.patch("/whep/{session}/{viewer}", self.patch),
            web.delete("/whep/{session}/{viewer}", self.delete),
        ]

    async def post(self, request: web.Request) -> web.Response:
        """201, or 400, 401, 404, 413, 415, 503."""
        offer = await signalling.read_text(request, signalling.SDP)
        peer, answer = await self._connections.play(request.match_info["session"], offer)
        return signalling.created(peer, answer, f"/whep/{peer.session.name}/{peer.id}")

    async def patch(self, request: web.Request) -> web.Response:
        """204, or 400, 401, 404, 412, 415, 422, 428."""
        info = request.match_info
        return await signalling.trickle(request, self._connections.viewer(info["session"], info["viewer"]))

    async def delete(self, request: web.Request) -> web.Response:
        """200, or 401, 404."""
        info = request.match_info
        return await signalling.delete(self._connections.viewer(info["session"], info["viewer"]), "The viewer left.")
