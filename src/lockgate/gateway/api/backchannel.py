"""Requests of ours to a client of the older protocols, and its answers, which come in as POSTs of their own; it must not trust an id alone."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from lockgate.contract.intent import Principal

ANSWER_SECONDS: Final = 60.0
"""How long a client may take to answer one of our requests."""

MAX_OPEN: Final = 256
MAX_OPEN_EACH: Final = 8
"""Requests of ours that may be unanswered at once: of all clients, and of one principal."""


@dataclass(frozen=True, slots=True)
class _Open:
    principal: str
    answer: asyncio.Future[dict[str, Any]]


def is_response(message: Any) -> bool:
    """Whether a parsed body has the shape of a JSON-RPC response."""
    return (
        isinstance(message, dict)
        and "method" not in message
        and message.get("jsonrpc") == "2.0"
        and isinstance(message.get("id"), str)
        and ("result" in message) != ("error" in message)
    )


class Backchannel:
    """Unanswered requests by an unguessable id. Only the principal that was asked may answer, once; there is no session to steal."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    @contextmanager
    def asking(self, principal: Principal) -> Iterator[tuple[str, asyncio.Future[dict[str, Any]]]]:
        """A new request's id and the future of its answer, forgotten afterwards. Raises MCPError when too many are open."""
        each = sum(item.principal == principal.id for item in self._open.values())
        if len(self._open) >= MAX_OPEN or each >= MAX_OPEN_EACH:
            raise MCPError(code=INTERNAL_ERROR, message="Too many requests to clients are unanswered; try again later.")
        request_id = "ask_" + base64.b32encode(os.urandom(16)).decode().rstrip("=").lower()
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._open[request_id] = _Open(principal.id, future)
        try:
            yield request_id, future
        finally:
            del self._open[request_id]

    def answer(self, principal: Principal, response: dict[str, Any]) -> bool:
        """Deliver a response (`is_response`); False alike for an unknown id, another's, and one that was answered."""
        found = self._open.get(response["id"])
        if found is None or found.principal != principal.id or found.answer.done():
            return False
        found.answer.set_result(response)
        return True


def result_of(response: dict[str, Any]) -> dict[str, Any]:
    """The result a client answered. Raises MCPError with its error, bounded, or for a result that is none."""
    error = response.get("error")
    if isinstance(error, dict):
        code, message = error.get("code"), error.get("message")
        raise MCPError(
            code=code if type(code) is int else INTERNAL_ERROR,
            message=f"The client refused: {message[:200]}" if isinstance(message, str) else "The client refused.",
        )
    result = response.get("result")
    if not isinstance(result, dict):
        raise MCPError(code=INTERNAL_ERROR, message="The client's answer was no object.")
    return result
