"""Writes JSON answers: plain, problem+json (RFC 9457) and JSON-RPC errors; it must not know what was asked."""

from __future__ import annotations

from typing import Any, Final

import orjson
from starlette.types import Send

from lockgate.gateway.errors import Refusal

JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"
Headers = tuple[tuple[bytes, bytes], ...]

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600


class Fault(Exception):
    """A request ends here with an HTTP status; `code` and `message` are stable and safe to show."""

    def __init__(self, status: int, code: str, message: str, *, field: str = "", fix: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.fix = fix
        self.headers: Headers = ()

    def document(self) -> dict[str, Any]:
        """{code, message, field?, fix?}."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.field:
            body["field"] = self.field
        if self.fix:
            body["fix"] = self.fix
        return body


def encode(document: Any) -> bytes:
    """Compact UTF-8 JSON."""
    return orjson.dumps(document)


async def send_json(
    send: Send, status: int, document: Any, headers: Headers = (), media_type: bytes = JSON, *, empty: bool = False
) -> None:
    """One whole response; `empty` sends no body at all."""
    body = b"" if empty else encode(document)
    length = (b"content-length", str(len(body)).encode())
    kind: Headers = () if empty else ((b"content-type", media_type),)
    await send({"type": "http.response.start", "status": status, "headers": [length, *kind, *headers]})
    await send({"type": "http.response.body", "body": body})


def problem(status: int, document: dict[str, Any]) -> dict[str, Any]:
    """RFC 9457: `type`, `title`, `status`, `detail`, and the extension members code, field, fix, rules, decision_id."""
    code = str(document["code"])
    rest = {name: value for name, value in document.items() if name != "message"}
    title = code.replace("_", " ").capitalize()
    return {
        "type": f"urn:lockgate:problem:{code}",
        "title": title,
        "status": status,
        "detail": document["message"],
        **rest,
    }


def refusal_headers(refusal: Refusal) -> Headers:
    """`Retry-After` where a retry helps."""
    if refusal.retry_after is None:
        return ()
    return ((b"retry-after", str(max(1, round(refusal.retry_after))).encode()),)


def rpc_error(request_id: str | int | None, code: int, message: str, data: Any = None) -> dict[str, Any]:
    """A JSON-RPC 2.0 error; `id` is null when the request's could not be read."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": request_id, "error": error}
