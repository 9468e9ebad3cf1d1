"""Who asks and what is asked: principals and intents; it must not hold anything a caller could not have said."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class PrincipalKind(StrEnum):
    """What kind of caller: it follows from the audience the token was issued for, never from its `sub` (TRUST §6)."""

    AGENT = "agent"
    HUMAN = "human"
    RUNNER = "runner"


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller. Its id is (issuer, subject); times are Unix seconds as in the token."""

    kind: PrincipalKind
    issuer: str
    subject: str
    tenant: str
    owner: str | None
    on_behalf_of: str | None
    roles: tuple[str, ...]
    audience: str
    token_id: str
    auth_time: int | None
    expires_at: int

    @property
    def id(self) -> str:
        """`issuer#subject`, the form used in policy data, records and audit."""
        return f"{self.issuer}#{self.subject}"

    @property
    def persons(self) -> frozenset[str]:
        """Every identity that stands behind this caller; invariant 5 compares these sets (ids as `issuer#subject`)."""
        return frozenset(item for item in (self.id, self.owner, self.on_behalf_of) if item)


class Effect(StrEnum):
    """What an action may do to its target, as its author declares."""

    READ = "read"
    CHANGE = "change"
    DESTROY = "destroy"


class Phase(StrEnum):
    """What an attempt is for."""

    READ = "read"
    PLAN = "plan"
    APPLY = "apply"
    VERIFY = "verify"


class Stage(StrEnum):
    """One sandbox inside an attempt (TRUST §2)."""

    READ = "read"
    PLAN = "plan"
    DERIVE = "derive"
    CHECK = "check"
    APPLY = "apply"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Intent:
    """What the agent asked. `plan_of` names a planned operation to apply; `plan_digests` what the agent saw of it."""

    action: str
    target: str
    arguments: dict[str, Any]
    reason: str
    idempotency_key: str | None
    dry_run: bool
    plan_of: str | None = None
    plan_semantic_sha256: str | None = None
