"""Who may ask: the token, the Host header, and other pages' origins."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from streaming.problem import Problem

#: What needs the token. The page, the viewer, their scripts and /healthz are open: a browser can't send it for those.
GUARDED = ("/whip", "/whep", "/api", "/metrics")

Prepare = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


def require_token(token: str) -> Middleware:
    """``Authorization: Bearer TOKEN`` or ``?token=TOKEN``, compared in constant time; otherwise 401."""
    expected = token.encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _is_guarded(request) and not any(hmac.compare_digest(given, expected) for given in _tokens(request)):
            raise Problem(
                401,
                "This server wants its token: send 'Authorization: Bearer TOKEN' or add ?token=TOKEN to the address.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return await handler(request)

    return guard


@web.middleware
async def require_loopback_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Without a token only this machine may ask, by its own name; a foreign one (DNS rebinding) gets 403."""
    host = request.headers.get("Host", "")
    if not is_loopback_name(host):
        raise Problem(
            403, f"Without a token this server answers to localhost only, not to {host!r}; start it with --token."
        )
    return await handler(request)


def is_loopback_name(host: str) -> bool:
    """Whether a Host header names this machine's loopback: localhost, 127.0.0.0/8 or [::1], with any port."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def cross_origin(allow_origins: Sequence[str]) -> tuple[Middleware, Prepare]:
    """Preflights (Fetch standard, section 3.2) and the headers that let pages of ``allow_origins`` read the answers."""
    allowed = frozenset(allow_origins)

    @web.middleware
    async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "OPTIONS" or isinstance(request.match_info.http_exception, web.HTTPNotFound):
            return await handler(request)
        methods = sorted(await _methods(request) | {"OPTIONS"})
        response = web.Response(status=204, headers={"Allow": ", ".join(methods)})
        if request.path.startswith(("/whip", "/whep")) and "POST" in methods:
            response.headers["Accept-Post"] = "application/sdp"
        if request.headers.get("Origin") in allowed:
            response.headers["Access-Control-Allow-Methods"] = ", ".join(methods)
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, If-Match"
            response.headers["Access-Control-Max-Age"] = "600"
        return response

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Content-Type-Options"] = "nosniff"
        if not allowed:
            return
        response.headers["Vary"] = "Origin"
        if (origin := request.headers.get("Origin")) in allowed and origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Location, ETag, Link, Retry-After"

    return preflight, add_headers


async def _methods(request: web.Request) -> set[str]:
    methods: set[str] = set()
    for resource in request.app.router.resources():
        _, found = await resource.resolve(request)
        methods |= found
    return methods


def _is_guarded(request: web.Request) -> bool:
    return any(request.path == path or request.path.startswith(path + "/") for path in GUARDED)


def _tokens(request: web.Request) -> list[bytes]:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    given = [bearer.strip()] if scheme.lower() == "bearer" else []
    return [value.encode("utf-8", "surrogateescape") for value in (*given, request.query.get("token", ""))]
