"""Answers GET /metrics on a listener of its own; it needs no identity, so it must be reachable only by who may read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from lockgate.telemetry.metrics import CONTENT_TYPE

Collect = Callable[[], Awaitable[bytes]]
_NOT_HERE = b"There is only GET /metrics here.\n"


def metrics_app(collect: Collect) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """An ASGI app; `collect` gives the text."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found = scope["method"] == "GET" and scope["path"] == "/metrics"
        body = await collect() if found else _NOT_HERE
        headers = [(b"content-type", CONTENT_TYPE), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app
