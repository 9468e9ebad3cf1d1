"""State a client carries between the rounds of one request: sealed, bound to caller, arguments and time, and good for one round only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.request_state import (
    AESGCMRequestStateCodec,
    InvalidRequestState,
    RequestStateBoundary,
    RequestStateSecurity,
)

from lockgate.gateway.api.exchange import Caller, caller_of

TTL_SECONDS: Final = 600.0
MAX_USED: Final = 20_000
"""States used within their time that are remembered; beyond it none is taken until old ones are over."""


class OneTimeCodec:
    """AES-256-GCM under a key of this process, refusing what was brought back before. `clock` is Unix seconds.

    A gateway that restarts has another key: states of before are refused and their request begins again. That loses no operation.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._inner = AESGCMRequestStateCodec([os.urandom(32)])
        self._clock = clock
        self._used: dict[bytes, float] = {}

    def seal(self, payload: bytes) -> str:
        """See RequestStateCodec."""
        return self._inner.seal(payload)

    def unseal(self, token: str) -> bytes:
        """See RequestStateCodec. Raises InvalidRequestState for a state that was used, and when too many are remembered."""
        payload = self._inner.unseal(token)
        now = self._clock()
        name = hashlib.sha256(token.encode()).digest()
        if name in self._used:
            raise InvalidRequestState("used before")
        if len(self._used) >= MAX_USED:
            self._used = {key: until for key, until in self._used.items() if until > now}
            if len(self._used) >= MAX_USED:
                raise InvalidRequestState("too many states are in use")
        self._used[name] = now + TTL_SECONDS
        return payload


def request_state(clock: Callable[[], float]) -> RequestStateBoundary:
    """The SDK's boundary around handlers: it seals what goes out and opens what comes back, or answers -32602."""
    security = RequestStateSecurity(codec=OneTimeCodec(clock), ttl=TTL_SECONDS, bind_principal=_principal)
    return RequestStateBoundary(security, default_audience="lockgate")


def _principal(ctx: ServerRequestContext[Any, Caller]) -> str:
    who = caller_of(ctx).principal
    return "\n".join((who.tenant, who.kind.value, who.id, who.on_behalf_of or ""))
