"""Records as rows and back: orjson writes the same documents as `contract.codec`, which reads them strictly. It must not query."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson

from lockgate.contract.codec import DocumentError, from_document
from lockgate.gateway.audit.entries import StoredEntry
from lockgate.gateway.operations.model import Attempt, Operation, Vote
from lockgate.gateway.operations.states import FINAL, State
from lockgate.gateway.store.port import StoreError

T = TypeVar("T")


def encode(record: Any) -> bytes:
    """A record's JSON. Raises StoreError for what JSON cannot hold (a lone surrogate, an integer over 64 bits)."""
    try:
        return orjson.dumps(record)
    except orjson.JSONEncodeError as error:
        raise StoreError(f"{type(record).__name__}: cannot be stored: {error}") from None


def decode(kind: type[T], body: bytes) -> T:
    """The record of a row. Raises StoreError when the row is not of this program's making."""
    try:
        return from_document(kind, orjson.loads(body))
    except (orjson.JSONDecodeError, DocumentError) as error:
        raise StoreError(f"store: a stored {kind.__name__} is unreadable: {error}") from None


def due_at(operation: Operation) -> int | None:
    """When the sweeper must look at it (Unix ms); None once it is final."""
    if operation.state in FINAL:
        return None
    expires = operation.approval_expires_at
    return operation.deadline if expires is None else min(operation.deadline, expires)


def shown(vote: Vote) -> str:
    """What a vote is about, as one comparable text."""
    return f"{vote.semantic_sha256} {vote.inputs_sha256} {vote.policy_revision}"


def told(operation: Operation) -> str:
    """What history tells of an operation beside its columns, as JSON: all of the document would cost fifty times as much to read. Raises StoreError."""
    denied = operation.state is State.DENIED
    rules = [reason.rule for reason in operation.reasons] if denied else []
    return encode([operation.action, operation.effect.value, rules]).decode()


OPERATION_COLUMNS = "(id, tenant, principal, target, region, lane, state, version, due_at, updated_at, told, body)"


def operation_row(operation: Operation, body: bytes | None) -> tuple[Any, ...]:
    """The columns of `operation` after `ordinal`."""
    return (
        operation.id,
        operation.tenant,
        operation.principal.id,
        operation.target,
        operation.region,
        lane(operation),
        operation.state.value,
        operation.version,
        due_at(operation),
        operation.updated_at,
        told(operation),
        body,
    )


def lane(operation: Operation) -> str:
    """What a queued operation lines up behind: others of its target, action and phase."""
    return f"{operation.target} {operation.action} {operation.phase.value if operation.phase else ''}"


def attempt_row(attempt: Attempt) -> tuple[Any, ...]:
    """The columns of `attempt` after `ordinal`."""
    return (
        attempt.id,
        attempt.operation,
        attempt.fence,
        attempt.state.value,
        attempt.runner,
        attempt.poll_id,
        attempt.lease_until,
        encode(attempt),
    )


def entry_of(row: tuple[Any, ...]) -> StoredEntry:
    """From (seq, time, kind, operation, principal, body_sha256, body)."""
    seq, time, kind, operation, principal, body_sha256, body = row
    return StoredEntry(seq, time, kind, operation, principal, body_sha256, orjson.loads(body))
