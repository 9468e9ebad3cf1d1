"""The bounded place where a program that embeds the front door adds MCP features beside the governed tools; nothing here may identify or admit.

The product itself offers none. A feature is reached after authentication like everything else, and a body words the answer of a call that was admitted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from lockgate.gateway.api.exchange import Caller
from lockgate.gateway.operations.model import Operation

Context = ServerRequestContext[Any, Caller]
Handler = Callable[[Context, Any], Awaitable[dict[str, Any]]]
Words = Callable[[Context, types.CallToolRequestParams, Operation], Awaitable[dict[str, Any]]]

FEATURES: Final[Mapping[str, type[BaseModel]]] = {
    "prompts/list": types.PaginatedRequestParams,
    "prompts/get": types.GetPromptRequestParams,
    "resources/list": types.PaginatedRequestParams,
    "resources/templates/list": types.PaginatedRequestParams,
    "resources/read": types.ReadResourceRequestParams,
    "resources/subscribe": types.SubscribeRequestParams,
    "resources/unsubscribe": types.UnsubscribeRequestParams,
    "completion/complete": types.CompleteRequestParams,
    "logging/setLevel": types.SetLevelRequestParams,
}
"""Every method a feature may serve. Tools and tasks are not among them: they are governed, and served by the gateway alone."""


@dataclass(frozen=True, slots=True)
class Body:
    """Who words the answer of one action's admitted calls. `requires` is looked at before admission: without it nothing is recorded."""

    words: Words
    requires: types.ClientCapabilities | None = None

    def check(self, ctx: Context) -> None:
        """Raises MCPError -32021 when this request did not declare what the body needs of its client."""
        if self.requires is not None and not ctx.session.check_client_capability(self.requires):
            raise missing_capability(self.requires.model_dump(by_alias=True, mode="json", exclude_none=True))


@dataclass(frozen=True, slots=True)
class Offers:
    """`features` by method, `bodies` by action, `changes` where lists that changed are told. Raises ValueError for a method that is governed.

    What they hand a client to bring back (`requestState`) is sealed and checked by the gateway, always.
    """

    features: Mapping[str, Handler] = field(default_factory=dict)
    bodies: Mapping[str, Body] = field(default_factory=dict)
    changes: InMemorySubscriptionBus | None = None
    asks_clients: bool = False
    """Whether bodies may send requests to clients of the older protocols (sampling, elicitation)."""

    def __post_init__(self) -> None:
        governed = sorted(set(self.features) - set(FEATURES))
        if governed:
            raise ValueError(f"features: {governed[0]} is not to be offered; only {', '.join(FEATURES)} are")


NOTHING: Final = Offers()


def missing_capability(required: dict[str, Any]) -> MCPError:
    """The protocol's answer to a request that needs what its client did not declare."""
    names = ", ".join(sorted(required.get("extensions") or required))
    return MCPError(
        code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
        message=f"This needs a client capability that the request does not declare: {names}",
        data={"requiredCapabilities": required},
    )
