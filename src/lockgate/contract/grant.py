"""The grant (permission for one attempt on one runner) and the permit (the answer to *start*); both are signed by the gateway's grant key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from lockgate.contract import trust
from lockgate.contract.codec import from_document
from lockgate.contract.intent import Phase
from lockgate.contract.keyset import Keyset
from lockgate.contract.trust import GRANT_TYPE, MAX_PERMIT_MS, PERMIT_TYPE

__all__ = [
    "GRANT_TYPE",
    "MAX_PERMIT_MS",
    "PERMIT_TYPE",
    "Grant",
    "GrantedPlan",
    "GrantedPolicy",
    "Limits",
    "Permit",
    "read_grant",
    "read_permit",
]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of every sandbox of an attempt: bytes, counts and seconds."""

    memory_bytes: int
    processes: int
    cpu_seconds: int
    wall_seconds: int
    open_files: int
    file_bytes: int
    disk_bytes: int
    output_bytes: int

    def within(self, other: Limits) -> tuple[str, ...]:
        """The names of the bounds in which this is wider than `other`; empty when it fits."""
        return tuple(name for name in self.__slots__ if getattr(self, name) > getattr(other, name))


@dataclass(frozen=True, slots=True)
class GrantedPlan:
    """The approved plan's digests, and the operation it was planned under (another one for `lockgate_apply_plan`)."""

    file_sha256: str
    semantic_sha256: str
    operation: str


@dataclass(frozen=True, slots=True)
class GrantedPolicy:
    """Which policy decided, and the decision's id."""

    revision: str
    decision: str


@dataclass(frozen=True, slots=True)
class Grant:
    """ARCHITECTURE §7 grant v1. Times are Unix ms of the gateway's clock. At plan and read `inputs_sha256` is None: the runner seals first and
    the permit names what it sealed (ADR 0003). `image` is the digest (`sha256:` hex) of the image that sandboxes must run; None: they have none."""

    version: int
    deployment: str
    dev: bool
    tenant: str
    operation: str
    attempt: str
    phase: Phase
    fence: int
    lease: str
    intent_sha256: str
    action_sha256: str
    target_sha256: str
    inputs_sha256: str | None
    plan: GrantedPlan | None
    policy: GrantedPolicy
    approvals: tuple[str, ...]
    region: str
    runner: str
    sandbox: str
    limits: Limits
    egress: tuple[str, ...]
    credential_scope: str
    issued_at: int
    not_after: int
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Permit:
    """The answer to a committed *start*: single use, at most 60 s, for one broker; names exactly the inputs (and at apply the check) started."""

    version: int
    deployment: str
    id: str
    grant_sha256: str
    operation: str
    attempt: str
    fence: int
    phase: Phase
    inputs_sha256: str
    check_sha256: str | None
    audience: str
    issued_at: int
    not_after: int


def read_grant(envelope: bytes, keyset: Keyset) -> Grant:
    """Verify and parse a grant. Raises EnvelopeError."""
    return trust.read_grant(partial(from_document, Grant), envelope, keyset)


def read_permit(envelope: bytes, keyset: Keyset) -> Permit:
    """Verify and parse a permit. Raises EnvelopeError."""
    return trust.read_permit(partial(from_document, Permit), envelope, keyset)
