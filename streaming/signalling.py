"""What WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) share: SDP offer in, SDP answer out, a resource to change."""

from __future__ import annotations

from aiohttp import web

from streaming.errors import BadRequest
from streaming.peer import Peer
from streaming.problem import Problem

SDP = "application/sdp"
SDP_FRAGMENT = "application/trickle-ice-sdpfrag"


async def read_text(request: web.Request, content_type: str) -> str:
    """The body. Raises Problem 415 for another content type, BadRequest if it isn't UTF-8 text; aiohttp raises 413."""
    if request.content_type != content_type:
        raise Problem(415, f"Send it as Content-Type: {content_type}.", headers={"Accept": content_type})
    try:
        return (await request.read()).decode()
    except UnicodeDecodeError:
        raise BadRequest("The body isn't text in UTF-8.") from None


def created(peer: Peer, answer: str, location: str) -> web.Response:
    """201 with the answer and where the resource is (RFC 9725 section 4.2)."""
    return web.Response(status=201, text=answer, content_type=SDP, headers={"Location": location, "ETag": peer.etag})


async def delete(peer: Peer, reason: str) -> web.Response:
    """Ends the connection (RFC 9725 section 4.2); answers when it is closed."""
    await peer.close(reason)
    return web.Response(status=200)


async def trickle(request: web.Request, peer: Peer) -> web.Response:
    """More candidates for the connection (RFC 9725 section 4.3.1, RFC 8840): 204. An ICE restart isn't offered: 422."""
    fragment = await read_text(request, SDP_FRAGMENT)
    match = request.headers.get("If-Match")
    if match is None:
        raise Problem(428, "Send If-Match with the ETag of this resource.")
    if match == "*":
        raise Problem(422, "This server can't restart ICE; open a new connection.")
    if peer.etag not in [tag.strip() for tag in match.split(",")]:
        raise Problem(412, "If-Match isn't the ETag of this connection; open a new one.")
    lines = [line.strip() for line in fragment.splitlines() if line.strip()]
    if not any(line.startswith(("a=candidate:", "a=end-of-candidates", "a=ice-ufrag:")) for line in lines):
        raise BadRequest("The fragment has no candidate; send a=candidate or a=end-of-candidates lines.")
    for line in lines:
        if line.startswith("a=ice-ufrag:") and line.removeprefix("a=ice-ufrag:") != peer.ice_ufrag():
            raise Problem(
                422, "Another a=ice-ufrag means an ICE restart, which this server can't do; open a new connection."
            )
    candidates = [line.removeprefix("a=candidate:") for line in lines if line.startswith("a=candidate:")]
    await peer.add_candidates(candidates, end="a=end-of-candidates" in lines)
    return web.Response(status=204, headers={"ETag": peer.etag})
