"""WHIP, the WebRTC-HTTP ingestion protocol (RFC 9725): a publisher's video makes a session."""

from __future__ import annotations

from aiohttp import web

from streaming import signalling
from streaming.connections import Connections


class WhipRoutes:
    """``POST /whip[?session=NAME]``, then ``DELETE`` and ``PATCH`` on the Location, ``/whip/NAME``."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/whip", self.post),
            web.patch("/whip/{session}", self.patch),
            web.delete("/whip/{session}", self.delete),
        ]

    async def post(self, request: web.Request) -> web.Response:
        """201, or 400, 401, 409, 413, 415, 503."""
        offer = await signalling.read_text(request, signalling.SDP)
        peer, answer = await self._connections.publish(request.query.get("session"), offer)
        return signalling.created(peer, answer, f"/whip/{peer.session.name}")

    async def patch(self, request: web.Request) -> web.Response:
        """204, or 400, 401, 404, 412, 415, 422, 428."""
        return await signalling.trickle(request, self._connections.publisher(request.match_info["session"]))

    async def delete(self, request: web.Request) -> web.Response:
        """200, or 401, 404. The session ends, and its viewers with it."""
        peer = self._connections.publisher(request.match_info["session"])
        return await signalling.delete(peer, "The publisher stopped.")
