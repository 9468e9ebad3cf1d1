"""What every HTTP request passes before a route sees it: Host, Origin, size, time and type of the body; it must not know any route."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockgate.contract import strictjson
from lockgate.gateway.api.answers import PROBLEM, Fault, problem, send_json
from lockgate.gateway.api.settings import WebSettings

SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
LINGER_BYTES: Final = 16 << 20
"""How much of a body that is too large is read and thrown away, so that its sender gets to see the 413."""

_CLOSE: Final = ((b"connection", b"close"),)


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header (lower-case name), in order; header bytes are Latin-1."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def one_header(scope: Scope, name: bytes) -> str | None:
    """The value of a header that may stand once. Raises Fault: two readers could choose differently between two."""
    found: bytes | None = None
    for key, value in scope["headers"]:
        if key == name:
            if found is not None:
                raise Fault(400, "duplicate_header", f"The header {name.decode()} stands twice.", field=name.decode())
            found = value
    return None if found is None else found.decode("latin-1")


def check_host(scope: Scope, hosts: frozenset[str]) -> None:
    """The Host header must be one this gateway is known by, against DNS rebinding. Raises Fault."""
    host = one_header(scope, b"host")
    if not host:
        raise Fault(400, "bad_host", "The Host header is missing.", field="host")
    if not _listed(host.lower(), hosts):
        fix = "Use the public URL, or add this name to the gateway's allowed hosts."
        raise Fault(421, "bad_host", "This gateway is not known by that Host.", field="host", fix=fix)


def check_origin(scope: Scope, origins: frozenset[str]) -> None:
    """A browser's Origin must be our own or a listed one; programs send none. Raises Fault."""
    origin = one_header(scope, b"origin")
    if origin is not None and not _listed(origin.lower(), origins):
        fix = "Call from an allowed origin, or add it to the gateway's allowed origins."
        raise Fault(403, "bad_origin", "Requests from that Origin are not accepted.", field="origin", fix=fix)


def _listed(value: str, allowed: frozenset[str]) -> bool:
    if value in allowed:
        return True
    name, _, port = value.rpartition(":")
    return port.isdigit() and f"{name}:*" in allowed


def check_json_type(scope: Scope) -> None:
    """The body must be declared as JSON in UTF-8. Raises Fault."""
    kind = (one_header(scope, b"content-type") or "").lower()
    media, _, rest = kind.partition(";")
    charset = rest.replace(" ", "").replace('"', "")
    if media.strip() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Fault(415, "bad_content_type", "The body must be application/json in UTF-8.", field="content-type")
    if one_header(scope, b"content-encoding") not in (None, "identity"):
        raise Fault(415, "bad_content_encoding", "Compressed bodies are not accepted.", field="content-encoding")


async def read_body(scope: Scope, receive: Receive, limit: int, seconds: float) -> bytes:
    """The whole body, at most `limit` bytes within `seconds`, whatever Content-Length says. Raises Fault."""
    declared = one_header(scope, b"content-length")
    keep = not (declared is not None and declared.isdigit() and int(declared[:20]) > limit)
    try:
        async with asyncio.timeout(seconds):
            return await _collect(receive, limit, keep=keep)
    except TimeoutError:
        fault = Fault(408, "body_timeout", f"The body did not arrive within {seconds:g} seconds.", field="body")
        fault.headers = _CLOSE
        raise fault from None


async def _collect(receive: Receive, limit: int, *, keep: bool) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Fault(400, "disconnected", "The client went away before its body was complete.", field="body")
        chunk = message.get("body", b"")
        size += len(chunk)
        keep = keep and size <= limit
        more = message.get("more_body", False)
        if keep:
            chunks.append(chunk)
            if not more:
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        else:
            # Discarded, but still read for a while: a connection closed under a writing client loses the answer on its way.
            chunks.clear()
            if not more or size > limit + LINGER_BYTES:
                raise _too_large(limit)


def _too_large(limit: int) -> Fault:
    fault = Fault(413, "body_too_large", f"The body is larger than {limit} bytes.", field="body")
    fault.headers = _CLOSE
    return fault


def parse_json(body: bytes, limit: int) -> Any:
    """The body as strict JSON: no duplicate keys, NaN, deep nesting, invalid UTF-8. Raises Fault naming the fault."""
    try:
        return strictjson.loads(body, max_bytes=limit)
    except strictjson.StrictJSONError as error:
        raise Fault(400, "bad_json", f"The body is not acceptable JSON: {error}", field=error.field or "body") from None


class Guard:
    """ASGI layer around a whole app: Host and Origin, security headers on every answer, faults as problem+json."""

    def __init__(self, app: ASGIApp, web: WebSettings) -> None:
        self._app = app
        self._hosts = web.hosts
        self._origins = web.origins
        secure = web.public_url.startswith("https:")
        self._headers = [*SECURITY_HEADERS, *([(b"strict-transport-security", b"max-age=31536000")] if secure else [])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served")

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with_defaults(message.get("headers", ()), self._headers)
            await send(message)

        try:
            check_host(scope, self._hosts)
            check_origin(scope, self._origins)
            await self._app(scope, receive, guarded)
        except Fault as fault:
            await send_fault(guarded, fault)


async def send_fault(send: Send, fault: Fault) -> None:
    """A fault as problem+json."""
    await send_json(send, fault.status, problem(fault.status, fault.document()), fault.headers, PROBLEM)


def _with_defaults(
    headers: Iterable[tuple[bytes, bytes]], defaults: list[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    own = list(headers)
    names = {name for name, _ in own}
    return own + [item for item in defaults if item[0] not in names]
