"""Every error leaves as ``application/problem+json`` (RFC 9457) with a ``detail`` that a person can act on."""

from __future__ import annotations

import http
import json
import logging
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from streaming.errors import NoFreePlace, StreamingError

logger = logging.getLogger(__name__)

_DETAILS = {
    404: "There is nothing at {path}.",
    405: "{path} doesn't take {method}; it takes {allow}.",
    413: "The body is too large; at most 1 MB is taken.",
}


class Problem(StreamingError):
    """An HTTP answer other than success, for statuses that no other error of this package stands for."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.title = http.HTTPStatus(status).phrase
        self.headers = dict(headers or {})


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into a problem; what nobody foresaw is logged and says nothing of itself."""
    try:
        return await handler(request)
    except StreamingError as error:
        return _answer(error.status, error.title, str(error), _headers(error))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allow = error.headers.get("Allow", "")
        detail = _DETAILS.get(error.status, "{reason}.").format(
            path=request.path, method=request.method, allow=allow, reason=error.reason
        )
        return _answer(error.status, error.reason, detail, {"Allow": allow} if allow else {})
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return _answer(500, "Internal Server Error", "The server failed at this request; its log says why.", {})


def _headers(error: StreamingError) -> dict[str, str]:
    if isinstance(error, Problem):
        return error.headers
    if isinstance(error, NoFreePlace):
        return {"Retry-After": str(error.retry_after)}
    return {}


def _answer(status: int, title: str, detail: str, headers: Mapping[str, str]) -> web.Response:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return web.Response(
        status=status,
        text=json.dumps(body, ensure_ascii=False),
        content_type="application/problem+json",
        headers=headers,
    )
