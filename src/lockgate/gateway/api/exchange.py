"""One request with its answer as the SDK's server kernel sees it: who calls, and what may be sent before the answer; it must not check anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from mcp.server.context import ServerRequestContext
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import MessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import INTERNAL_ERROR

from lockgate.contract.intent import Principal
from lockgate.gateway.api.backchannel import ANSWER_SECONDS, Backchannel, result_of
from lockgate.gateway.api.line import Line

_TRANSPORT: Final = TransportContext(kind="streamable-http", can_send_request=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """What the handlers get of the HTTP request: who calls, how many bytes the body had, and the way back."""

    principal: Principal
    size: int
    line: Line


def caller_of(ctx: ServerRequestContext[Any, Caller]) -> Caller:
    """Who sent the request that a handler serves."""
    if ctx.request is None:
        raise RuntimeError("a request reached a handler without its caller")
    return ctx.request


@dataclass(slots=True)
class Exchange:
    """The SDK's dispatch context for one request. What a client that reads no event stream would be told on the way is dropped.

    `backchannel` is given for the older protocols alone, where a server may ask its client; 2026-07-28 forbids it.
    """

    request_id: str | int
    message_metadata: MessageMetadata
    caller: Caller
    params: Mapping[str, Any] | None
    backchannel: Backchannel | None = None
    transport: TransportContext = _TRANSPORT
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)

    @property
    def can_send_request(self) -> bool:
        """Whether the client can be asked something on the way."""
        return self.backchannel is not None and self.caller.line.events

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the client and wait for its answer. Raises NoBackChannelError where there is no way, MCPError for a refusal or silence."""
        if self.backchannel is None or not self.caller.line.events:
            raise NoBackChannelError(method)
        seconds = min((opts or {}).get("timeout", ANSWER_SECONDS), ANSWER_SECONDS)
        with self.backchannel.asking(self.caller.principal) as (request_id, answer):
            await self.caller.line.event(_message(method, params, {"id": request_id}))
            try:
                async with asyncio.timeout(seconds):
                    return result_of(await answer)
            except TimeoutError:
                raise MCPError(code=INTERNAL_ERROR, message=f"The client did not answer {method} in time.") from None

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Tell the client something on the way, on this request's own stream."""
        if self.caller.line.events:
            await self.caller.line.event(_message(method, params, {}))

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """As notify, where the client asked for progress."""
        token = progress_token_from_params(self.params)
        if token is not None:
            told = {"progressToken": token, "progress": progress, "total": total, "message": message}
            await self.notify("notifications/progress", {name: item for name, item in told.items() if item is not None})


def _message(method: str, params: Mapping[str, Any] | None, more: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", **more, "method": method, **({} if params is None else {"params": dict(params)})}
