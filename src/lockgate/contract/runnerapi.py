"""What runner and gateway say over mTLS under /runner/v1; every body is one of these, strictly. It must not carry an identity: the certificate does."""

from __future__ import annotations

from dataclasses import dataclass

from lockgate.contract.evidence import Witness
from lockgate.contract.work import Work


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """POST lease. `poll_id` is fresh per poll; the same one gets the same lease. Waits up to `wait_seconds` (0..30).

    `image` is the digest of the image this runner's sandboxes run (`sha256:` hex); None: they have none. It is the runner's word, and its own grant binds it.
    """

    poll_id: str
    drivers: tuple[str, ...]
    wait_seconds: int
    witness: Witness | None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseOffer:
    """A grant (envelope text) with what it speaks of. `now` is the gateway's clock (Unix ms), only to be compared with the grant's own times."""

    grant: str
    work: Work
    now: int
    lease_seconds: int


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """`offer` is None when nothing is to be done. `checkpoint` (envelope) is the newest; `consistency` (hex hashes) proves it from the witness."""

    offer: LeaseOffer | None
    checkpoint: str
    consistency: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """POST attempts/{id}/heartbeat: still alive."""

    fence: int


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    """`cancel`: stop now where that is safe. The lease now lasts `lease_seconds` more."""

    cancel: bool
    lease_seconds: int


@dataclass(frozen=True, slots=True)
class Stop:
    """POST attempts/{id}/give-back (cannot do it now) or attempts/{id}/refuse (the grant is not acceptable; alarmed)."""

    fence: int
    reason: str


@dataclass(frozen=True, slots=True)
class StartRequest:
    """POST attempts/{id}/start. At plan and read: the sealed inputs' digest. At apply also the check stage's signed manifest and canonical plan."""

    fence: int
    inputs_sha256: str
    manifest: str | None
    plan: str | None


@dataclass(frozen=True, slots=True)
class StartAnswer:
    """Exactly one: a permit; `differs` (nothing may be applied, the operation plans again); or `refused` with the reason."""

    permit: str | None
    differs: bool
    refused: str | None


@dataclass(frozen=True, slots=True)
class CredentialNote:
    """POST attempts/{id}/credential: `event` is intended, issued or revoked; accessors only (at most 256 characters).

    What was issued is named, and must be in the attempt's receipt by that name."""

    fence: int
    event: str
    scope: str
    accessor: str | None
    expires_in: int | None


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage's signed manifest with the canonical plan (plan, verify) or the masked output (read) it speaks of."""

    manifest: str
    plan: str | None
    output: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """POST attempts/{id}/report: plan [plan]; read [read]; apply [apply] or [apply, verify]. Each once per attempt."""

    fence: int
    stages: tuple[StageReport, ...]


@dataclass(frozen=True, slots=True)
class ReceiptNote:
    """POST attempts/{id}/receipt: the signed teardown receipt, also late and also more than once."""

    receipt: str


@dataclass(frozen=True, slots=True)
class Ack:
    """The gateway has it durably. `state` is the operation's state now."""

    state: str
