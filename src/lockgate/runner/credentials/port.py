"""The CredentialBroker port: who turns an attempt into credentials, and what must hold of any that does; no provider's detail belongs here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Scope = Literal["read", "write"]
Trust = Literal["permit", "runner-trusted"]


class BrokerError(Exception):
    """Nothing was issued; the two kinds below say whether asking again may help."""


class BrokerRefused(BrokerError):
    """Permanent: this credential is not given: no permit, the wrong permit, a reference out of bounds. The message names the field."""


class BrokerUnavailable(BrokerError):
    """Temporary: the broker or its store cannot answer now; nothing was issued. Try again."""


@dataclass(frozen=True, slots=True)
class PermitShown:
    """The permit of the attempt that asks: its envelope, and how long ago (ms of CLOCK_BOOTTIME) the gateway's answer brought it."""

    envelope: bytes
    age_ms: int


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """Files to make, by name, from secret references under `prefixes`, for one attempt. `ttl` is seconds; `permit` is a must for write.

    `read_is_read_only` is the region's word that what `read` references give cannot write.
    """

    scope: Scope
    target: str
    attempt: str
    fence: int
    grant_sha256: str
    references: Mapping[str, str]
    prefixes: tuple[str, ...]
    ttl: int
    permit: PermitShown | None = None
    read_is_read_only: bool = False


@dataclass(frozen=True, slots=True)
class Credential:
    """What was issued. `accessor` names it in journal and receipt; `files` go into the sandbox, `secrets` to the run's redactor.

    `expires_in` is seconds, None when the broker cannot make it expire. Contents are kept out of every representation.
    """

    accessor: str
    files: Mapping[str, bytes] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    expires_in: int | None

    @classmethod
    def nothing(cls) -> Credential:
        """What an attempt without a credential scope has: no accessor, nothing to revoke."""
        return cls("", {}, (), None)


class CredentialBroker(Protocol):
    """Issues and revokes. `trust` says who can be held to the permit: the broker itself, or this runner only (then every receipt says so).

    `read_scope_enforced`: whether the broker itself makes read credentials unable to write (TRUST §2).
    """

    @property
    def name(self) -> str:
        """Its name in settings and receipts."""
        ...

    @property
    def trust(self) -> Trust: ...

    @property
    def read_scope_enforced(self) -> bool: ...

    async def issue(self, request: CredentialRequest) -> Credential:
        """Make a credential. Raises BrokerRefused, BrokerUnavailable; then nothing was issued."""
        ...

    async def revoke(self, accessor: str) -> bool:
        """End a credential by its accessor, also one of an earlier process; idempotent. True when it certainly is of no more use from here."""
        ...

    async def revoke_unheard(self, attempt: str, scope: str) -> bool:
        """End whatever was issued for an attempt whose asker died before it heard of an accessor; idempotent. True as in `revoke`."""
        ...
