"""The store's port: commands that are each one durable transaction, queries, and changes. A provider must not decide, only hold.

A command's transaction is: preconditions, rows, audit entries with the tree head. It is durable (fsynced) before the awaitable returns. A command whose
precondition fails changes nothing. After an exception from the commit itself the outcome is unknown: look it up by id (StoreUnknown).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from lockgate.gateway.audit.entries import EntryDraft
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.locks import LockState
from lockgate.gateway.operations.model import Attempt, DecisionRecord, Lock, Operation, Vote
from lockgate.gateway.store.decisions import Decisions as Decisions  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.decisions import DecisionsOf as DecisionsOf  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.decisions import Forget as Forget  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.decisions import GetBundle as GetBundle  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.decisions import GetDecision as GetDecision  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.decisions import KeepBundle as KeepBundle  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.decisions import OldestKept as OldestKept  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.errors import StoreBusy as StoreBusy  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.errors import StoreError as StoreError  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.errors import StoreLocked as StoreLocked  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.errors import StoreUnknown as StoreUnknown  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.past import Asking as Asking  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.past import Claim as Claim  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.past import Overdrawn as Overdrawn  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.past import Past as Past  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.past import PastOperation as PastOperation  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.past import ReadPast as ReadPast  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.past import Scope as Scope  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.past import Sum as Sum  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.past import Used as Used  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.past import UsedMost as UsedMost  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.query import AuditEntries as AuditEntries  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.query import ConsistencyProof as ConsistencyProof  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.query import InclusionProof as InclusionProof  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.query import LeafHashes as LeafHashes  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.query import Query as Query  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.query import TreeHead as TreeHead  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.standing import Freezes as Freezes  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.standing import GetEpoch as GetEpoch  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.standing import RecordedRevision as RecordedRevision  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.standing import Revocation as Revocation  # noqa: PLC0414  (part of the port)
from lockgate.gateway.store.standing import Revocations as Revocations  # noqa: PLC0414  (part of the port)

R = TypeVar("R")


# --- commands -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Admit:
    """Record a new operation, its decision and its entries, unless `idempotency_scope` exists already or the epoch has moved.

    With `spends` it counts from now on (operations/spending.py). Answers Done(operation), Existing(operation), EpochMoved or Overdrawn.
    """

    operation: Operation
    idempotency_scope: str | None
    decision: DecisionRecord
    entries: tuple[EntryDraft, ...]
    epoch: int
    now: int
    further_decisions: tuple[DecisionRecord, ...] = ()
    claims: tuple[Claim, ...] = ()
    spends: bool = False


@dataclass(frozen=True, slots=True)
class AttemptChange:
    """Insert (`expected` None) or replace an attempt that is still in state `expected` with the same fence.

    With `expected_lease_until` (Unix ms) only while its lease still ends then: who ends a lease and who prolongs it cannot both win.
    """

    attempt: Attempt
    expected: AttemptState | None
    expected_lease_until: int | None = None


@dataclass(frozen=True, slots=True)
class LockChange:
    """Move the lock `name` from (`expected`, `expected_attempt`) to (`to`, `attempt`); a lock never seen is free and held by None."""

    name: str
    expected: LockState
    expected_attempt: str | None
    to: LockState
    attempt: str | None


@dataclass(frozen=True, slots=True)
class StillTrusted:
    """Read inside the transaction, no cache: none of these token ids or principal ids is revoked, and none of these scopes is frozen."""

    tokens: tuple[tuple[str, str, int], ...]
    """(token id, principal id, issued-at or record time in Unix ms): as in `Revocation`."""
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnvelopeRecord:
    """A signed envelope kept as evidence; named by the SHA-256 of its bytes."""

    sha256: str
    kind: str
    operation: str
    attempt: str | None
    envelope: bytes


@dataclass(frozen=True, slots=True)
class PlanBytes:
    """Canonical plan bytes, named by their SHA-256 (`semantic_sha256`), for one operation."""

    semantic_sha256: str
    operation: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Transition:
    """One transition: compare-and-set on the operation (`expected_version`) and on the attempt and lock it names, plus everything else.

    Commits only if `epoch` (when given) still stands, and `trusted` (when given) and all `claims` hold. With `spends` the operation counts from now on,
    with what its plan says; at its end it counts as operations/spending.py has it. Answers Done(operation), Conflict, EpochMoved or Overdrawn.
    `operation` may be None for changes of an attempt or lock alone (a receipt after the end, `target unlock`).
    """

    now: int
    entries: tuple[EntryDraft, ...]
    operation: Operation | None = None
    expected_version: int | None = None
    attempts: tuple[AttemptChange, ...] = ()
    locks: tuple[LockChange, ...] = ()
    votes: tuple[Vote, ...] = ()
    decisions: tuple[DecisionRecord, ...] = ()
    envelopes: tuple[EnvelopeRecord, ...] = ()
    plans: tuple[PlanBytes, ...] = ()
    trusted: StillTrusted | None = None
    epoch: int | None = None
    claims: tuple[Claim, ...] = ()
    spends: bool = False


class ControlKind(StrEnum):
    """What moves the epoch."""

    REVOKE_TOKEN = "revoke_token"  # noqa: S105  (a kind, no secret)
    REVOKE_PRINCIPAL = "revoke_principal"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    POLICY = "policy"
    CATALOG = "catalog"
    KEYSET = "keyset"


@dataclass(frozen=True, slots=True)
class Control:
    """Move the epoch: a revocation (`subject` is a token id or principal id), a freeze (`subject` is a scope: `*`, `tenant:x`,
    `target:x`), or a new policy, catalog or keyset (`subject` is its revision; the same revision again changes nothing). `decisions` are those that permitted it. Answers Done(None)."""

    kind: ControlKind
    subject: str
    entries: tuple[EntryDraft, ...]
    now: int
    decisions: tuple[DecisionRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Append:
    """Audit entries, and decisions that changed nothing else: reads, refusals, administrative acts. Answers Done(None)."""

    entries: tuple[EntryDraft, ...]
    now: int
    decisions: tuple[DecisionRecord, ...] = ()


Command = Admit | Transition | Control | Append | Forget | KeepBundle


@dataclass(frozen=True, slots=True)
class Done:
    """Durable. `epoch` and `commit` are the store's after this command; `tree_size` counts audit entries."""

    operation: Operation | None
    epoch: int
    tree_size: int


@dataclass(frozen=True, slots=True)
class Existing:
    """The idempotency scope is taken by this operation; nothing was written."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Conflict:
    """A precondition did not hold; nothing was written. `what` names it: operation, attempt, lock, vote or trusted."""

    what: str


@dataclass(frozen=True, slots=True)
class EpochMoved:
    """The epoch is no longer the one the decision saw; nothing was written; decide again."""

    epoch: int


Outcome = Done | Existing | Conflict | EpochMoved | Overdrawn


# --- queries ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GetOperation(Query[Operation | None]):
    """One operation by id."""

    id: str


@dataclass(frozen=True, slots=True)
class FindIdempotent(Query[Operation | None]):
    """The operation that took an idempotency scope."""

    scope: str


@dataclass(frozen=True, slots=True)
class ListOperations(Query[tuple[Operation, ...]]):
    """Newest first; `before` is an operation id to page on; `principal` (id) limits to one caller's own; at most 200."""

    tenant: str
    principal: str | None = None
    states: tuple[str, ...] = ()
    target: str | None = None
    before: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class QueuedOperations(Query[tuple[Operation, ...]]):
    """Queued operations of a region, oldest first within a tenant and tenants taking turns; at most `limit`."""

    region: str
    limit: int = 64


@dataclass(frozen=True, slots=True)
class LaneHeads(Query[tuple[Operation, ...]]):
    """The oldest queued operation of each lane (tenant, target, action, phase) of a region, tenants taking turns: what can be leased at all.

    However many wait behind one of them, they hide nobody else.
    """

    region: str
    limit: int = 500


@dataclass(frozen=True, slots=True)
class IndeterminateOperations(Query[tuple[Operation, ...]]):
    """The indeterminate operations of a region, oldest first, at most `limit`."""

    region: str
    limit: int = 100


@dataclass(frozen=True, slots=True)
class QueueDepth(Query[tuple[tuple[str, int], ...]]):
    """How many operations of all tenants are queued, leased and running, as (state, count) for each that has any."""


@dataclass(frozen=True, slots=True)
class TenantLoad(Query[tuple[int, int]]):
    """How many operations of a tenant are queued, and how many are with runners (leased or running); each counted up to `at_most`."""

    tenant: str
    at_most: int = 1_000_000


@dataclass(frozen=True, slots=True)
class DueOperations(Query[tuple[Operation, ...]]):
    """Operations not yet final whose deadline or approval expiry has passed at `now`; at most `limit`."""

    now: int
    limit: int = 64


@dataclass(frozen=True, slots=True)
class GetAttempt(Query[Attempt | None]):
    """One attempt by id."""

    id: str


@dataclass(frozen=True, slots=True)
class AttemptsOf(Query[tuple[Attempt, ...]]):
    """All attempts of an operation, oldest first."""

    operation: str


@dataclass(frozen=True, slots=True)
class AttemptByPoll(Query[Attempt | None]):
    """The attempt a runner's poll was answered with, so that a repeated poll gets the same lease."""

    runner: str
    poll_id: str


@dataclass(frozen=True, slots=True)
class LiveAttempts(Query[tuple[Attempt, ...]]):
    """Attempts in states leased, started or reported; with `expired_at` only those whose lease had run out by then."""

    expired_at: int | None = None


@dataclass(frozen=True, slots=True)
class GetLock(Query[Lock]):
    """A lock by name; one never seen is free."""

    name: str


@dataclass(frozen=True, slots=True)
class ListLocks(Query[tuple[Lock, ...]]):
    """Every lock that is held or quarantined."""


@dataclass(frozen=True, slots=True)
class VotesOf(Query[tuple[Vote, ...]]):
    """All votes on an operation, oldest first."""

    operation: str


@dataclass(frozen=True, slots=True)
class EnvelopesOf(Query[tuple[EnvelopeRecord, ...]]):
    """All signed envelopes of an operation, oldest first."""

    operation: str


@dataclass(frozen=True, slots=True)
class GetPlanBytes(Query[bytes | None]):
    """Canonical plan bytes of one operation."""

    operation: str
    semantic_sha256: str


class Store(Protocol):
    """One tenant-spanning durable store. `commit` and `read` may be called from many tasks at once."""

    async def migrate(self) -> None:
        """Bring the schema to this version. Raises StoreError when it is newer than this program."""
        ...

    async def commit(self, command: Command) -> Outcome:
        """Run one command. Durable when it returns. Raises StoreBusy (nothing written), StoreUnknown, StoreError."""
        ...

    async def read(self, query: Query[R]) -> R:
        """Answer a query from what was acknowledged. Raises StoreError."""
        ...

    def changes(self, since: int | None = None) -> AsyncIterator[frozenset[str]]:
        """For ever: the ids of operations touched by each committed batch (an empty set: something else moved)."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, release the lock on the store."""
        ...
