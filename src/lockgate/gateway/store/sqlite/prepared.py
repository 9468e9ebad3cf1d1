"""A command made ready on the caller's side: encoded, bounded, checked for what needs no transaction. It must not read the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from lockgate.contract.canonical import sha256
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.store.entryrows import PreparedEntry, prepare
from lockgate.gateway.store.port import Admit, Append, Command, Control, Forget, KeepBundle, StoreError, Transition
from lockgate.gateway.store.sqlite.decisions import Row, decision_row
from lockgate.gateway.store.sqlite.rows import encode


@dataclass(frozen=True, slots=True)
class Prepared:
    """A command with its audit entries, the JSON of its operation and the rows of its decisions."""

    command: Command
    entries: tuple[PreparedEntry, ...]
    operation: bytes | None = None
    decisions: tuple[Row, ...] = ()


def prepared(command: Command) -> Prepared:
    """Raises StoreError naming the field when the command can never be stored; then nothing was written."""
    if isinstance(command, Forget | KeepBundle):
        return Prepared(command, ())
    entries = prepare(command.entries, command.now)
    match command:
        case Admit():
            made = (command.decision, *command.further_decisions)
            return Prepared(command, entries, encode(command.operation), tuple(map(decision_row, made)))
        case Transition():
            operation = None if command.operation is None else _next(command.operation, command.expected_version)
            _check_digests(command)
            return Prepared(command, entries, operation, tuple(map(decision_row, command.decisions)))
        case Control() | Append():
            return Prepared(command, entries, None, tuple(map(decision_row, command.decisions)))
        case _:
            assert_never(command)


def _next(operation: Operation, expected: int | None) -> bytes:
    if expected is None or operation.version != expected + 1:
        raise StoreError(
            f"operation.version: must be expected_version + 1, got {operation.version} after {expected}; nothing was written"
        )
    return encode(operation)


def _check_digests(command: Transition) -> None:
    for index, envelope in enumerate(command.envelopes):
        if sha256(envelope.envelope) != envelope.sha256:
            raise StoreError(f"envelopes[{index}].sha256: is not the digest of its bytes; nothing was written")
    for index, plan in enumerate(command.plans):
        if sha256(plan.data) != plan.semantic_sha256:
            raise StoreError(f"plans[{index}].semantic_sha256: is not the digest of its bytes; nothing was written")
