"""Audit entries (ARCHITECTURE §7): their kinds and their exact bytes. It must not hold a secret, nor anything the runner did not mask."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lockgate.contract.canonical import canonical, digest


class EntryKind(StrEnum):
    """Every kind of entry there is."""

    STORE_CREATED = "store.created"
    KEYSET_LOADED = "keyset.loaded"
    POLICY_LOADED = "policy.loaded"
    CATALOG_LOADED = "catalog.loaded"
    OPERATION_REQUESTED = "operation.requested"
    DECISION_MADE = "decision.made"
    OPERATION_WAITS = "operation.waits"
    OPERATION_LEASED = "operation.leased"
    GRANT_ISSUED = "grant.issued"
    GRANT_REFUSED = "grant.refused"
    START_COMMITTED = "start.committed"
    START_REFUSED = "start.refused"
    MANIFEST_RECEIVED = "manifest.received"
    PLAN_RECORDED = "plan.recorded"
    CHECK_DIFFERED = "check.differed"
    CREDENTIAL_INTENDED = "credential.intended"
    CREDENTIAL_ISSUED = "credential.issued"
    CREDENTIAL_REVOKED = "credential.revoked"
    VOTE_CAST = "vote.cast"
    VOTE_REFUSED = "vote.refused"
    CANCEL_REQUESTED = "cancel.requested"
    LEASE_LOST = "lease.lost"
    OPERATION_ENDED = "operation.ended"
    OPERATION_MOVED = "operation.moved"
    RECEIPT_RECEIVED = "receipt.received"
    LOCK_QUARANTINED = "lock.quarantined"
    LOCK_UNLOCKED = "lock.unlocked"
    OPERATION_RESOLVED = "operation.resolved"
    TOKEN_ISSUED = "token.issued"  # noqa: S105  (a kind, no secret)
    TOKEN_REVOKED = "token.revoked"  # noqa: S105  (a kind, no secret)
    FREEZE_SET = "freeze.set"
    FREEZE_LIFTED = "freeze.lifted"
    PLAN_VIEWED = "plan.viewed"
    AUDIT_EXPORTED = "audit.exported"
    RUNNER_SEEN = "runner.seen"
    SHADOW_DIFFERED = "shadow.differed"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class EntryDraft:
    """An entry before the writer gives it its number and time. `body` is a JSON object of at most 64 KiB canonical."""

    kind: EntryKind
    operation: str | None
    principal: str | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The audit tree: `size` leaves and its root hash (32 bytes)."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """Audit entry v1: `seq` counts from 0 without a gap, `time` is Unix ms."""

    seq: int
    time: int
    kind: str
    operation: str | None
    principal: str | None
    body_sha256: str
    body: dict[str, Any]

    def leaf_bytes(self) -> bytes:
        """The bytes that are hashed into the tree: everything but the body, which stands there by its digest."""
        return canonical(
            {
                "version": 1,
                "seq": self.seq,
                "time": self.time,
                "kind": self.kind,
                "operation": self.operation,
                "principal": self.principal,
                "body_sha256": self.body_sha256,
            }
        )


def number(draft: EntryDraft, seq: int, time: int) -> StoredEntry:
    """The entry with its place in the log."""
    return StoredEntry(seq, time, draft.kind.value, draft.operation, draft.principal, digest(draft.body), draft.body)
