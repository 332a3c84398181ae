"""Reading the body of a request: JSON, or bytes up to a bound of their own."""

from __future__ import annotations

import json

from aiohttp import web

from streaming.errors import BadRequest
from streaming.problem import Problem


async def read_json(request: web.Request) -> object:
    """Raises Problem 415 for another content type, BadRequest if it isn't JSON; aiohttp raises 413."""
    if request.content_type != "application/json":
        raise Problem(415, "Send JSON, as Content-Type: application/json.", headers={"Accept": "application/json"})
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError):
        raise BadRequest("The body isn't JSON; send an object, as the API's page describes it.") from None


async def read_bytes(request: web.Request, *, most: int, what: str) -> bytes:
    """The whole body. Raises Problem 413 as soon as it is clear that it is longer than ``most`` bytes."""
    too_large = Problem(413, f"{what} is too large; at most {most >> 20} MB are taken.")
    if (request.content_length or 0) > most:
        raise too_large
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > most:
            raise too_large
    return bytes(body)
