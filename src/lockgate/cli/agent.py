"""A small MCP agent with the official client; it holds a token and reaches nothing but the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockgate.cli.exits import Exit
from lockgate.cli.problem import Problem

if TYPE_CHECKING:
    from mcp import Client

CALL_SECONDS = 90.0
_EXITS = {
    "succeeded": Exit.OK,
    "planned": Exit.OK,
    "denied": Exit.REFUSED,
    "failed": Exit.FAILED,
    "cancelled": Exit.FAILED,
    "expired": Exit.FAILED,
    "refused": Exit.REFUSED,
}
_CODES = {
    "bad_input": Exit.USAGE,
    "unknown_action": Exit.NOT_FOUND,
    "not_found": Exit.NOT_FOUND,
    "conflict": Exit.CONFLICT,
    "rate_limited": Exit.UNAVAILABLE,
    "unavailable": Exit.UNAVAILABLE,
    "internal": Exit.UNAVAILABLE,
}
"""Exit codes by the gateway's stable error codes; others are by status."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A tool's answer: the structured content, and the text a model would read."""

    view: dict[str, Any]
    text: str

    @property
    def exit(self) -> Exit:
        """The exit code that its status means."""
        code = str((self.view.get("error") or {}).get("code"))
        if code in _CODES:
            return _CODES[code]
        return _EXITS.get(str(self.view.get("status")), Exit.WAITING)


@asynccontextmanager
async def agent(url: str, token: str) -> AsyncIterator[Client]:
    """A connected MCP client. Raises Problem when the gateway does not answer or refuses the token."""
    import httpx2
    from mcp import Client, MCPError
    from mcp.client.streamable_http import streamable_http_client

    headers = {"authorization": f"Bearer {token}"}
    try:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=CALL_SECONDS) as http,
            Client(streamable_http_client(url + "/mcp", http_client=http)) as client,
        ):
            yield client
    except (httpx2.HTTPError, MCPError, BaseExceptionGroup) as error:
        problem = _explained(url, first(error))
        if problem is None:
            raise
        raise problem from None


def first(error: BaseException) -> BaseException:
    """The first exception of a group, however deep."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _explained(url: str, error: BaseException) -> Problem | None:
    import httpx2
    from mcp import MCPError

    if isinstance(error, Problem):
        return error
    if isinstance(error, httpx2.HTTPStatusError):
        status = error.response.status_code
        exit = Exit.REFUSED if status in (401, 403) else Exit.UNAVAILABLE
        return Problem(
            exit, f"{url}/mcp answered {status}", fix="lockgate token inspect, or name another token with --as"
        )
    if isinstance(error, httpx2.TransportError):
        return Problem(
            Exit.UNAVAILABLE,
            f"the gateway at {url} does not answer: {error}",
            fix="lockgate dev (or lockgate gateway), or name another one with $LOCKGATE_URL",
        )
    if isinstance(error, MCPError):
        data = error.error.data if isinstance(error.error.data, dict) else {}
        unknown = Exit.REFUSED if data.get("field") == "authorization" else Exit.USAGE
        exit = _CODES.get(str(data.get("code")), unknown)
        return Problem(exit, error.error.message, field=str(data.get("field", "")), fix=str(data.get("fix", "")))
    return None


async def list_tools(url: str, token: str) -> list[dict[str, Any]]:
    """What this agent may ask for: name, title, effect, arguments, and the targets it may address."""
    async with agent(url, token) as client:
        found = (await client.list_tools()).tools
    return [_tool(tool) for tool in found]


async def call_tool(url: str, token: str, name: str, arguments: dict[str, Any]) -> Answer:
    """Call one tool."""
    async with agent(url, token) as client:
        return answer_of(await client.call_tool(name, arguments))


def answer_of(result: Any) -> Answer:
    """A tool result as an answer."""
    view = result.structured_content or {}
    return Answer(view, "\n".join(part.text for part in result.content if part.type == "text"))


def _tool(tool: Any) -> dict[str, Any]:
    hints = tool.annotations
    read_only = bool(hints and hints.read_only_hint)
    destructive = bool(hints and hints.destructive_hint)
    properties = tool.input_schema.get("properties", {})
    return {
        "name": tool.name,
        "title": tool.title or "",
        "effect": "read" if read_only else "destroy" if destructive else "change",
        "arguments": sorted(properties),
        "targets": properties.get("target", {}).get("enum", []),
    }
