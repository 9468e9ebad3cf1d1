"""The port of identity: what the gateway asks of whoever verifies tokens; it must not know how."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Protocol

from lockgate.contract.intent import Principal


class Audience(StrEnum):
    """Which door a token is shown at. The door, never the token's `sub`, makes the caller an agent or a human (TRUST §6)."""

    AGENT = "agent"
    HUMAN = "human"


SCOPES: Final[Mapping[Audience, str]] = {Audience.AGENT: "lockgate:agent", Audience.HUMAN: "lockgate:human"}
"""The scope that each door wants of a token that lists any."""


class Unauthenticated(Exception):
    """The token was refused. `error` is an RFC 6750 code (None: there was no token); `description` says why and never holds the token."""

    def __init__(self, error: str | None, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description

    @property
    def status(self) -> int:
        """403 for insufficient_scope, else 401 (RFC 6750 §3.1)."""
        return 403 if self.error == "insufficient_scope" else 401


class RevocationView(Protocol):
    """Revocations as the store has them now; asked at every verification, cached tokens included (invariant 14)."""

    def is_revoked(self, token_id: str, principal_id: str, issued_at: int) -> bool:
        """True when the token, or every token the principal got until `issued_at` (Unix ms), was revoked."""
        ...


class IdentityVerifier(Protocol):
    """Turns a bearer token into a principal, or refuses it."""

    def verify(self, token: str, *, audience: Audience, now: float) -> Principal:
        """The principal of a token shown at the door of `audience`; `now` is Unix seconds. Raises Unauthenticated."""
        ...
