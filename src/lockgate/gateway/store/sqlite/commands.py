"""What each command does inside the writer's transaction: preconditions first, then rows. It must not commit, nor decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from lockgate.contract.merkle import Frontier
from lockgate.gateway.operations.locks import LockState
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.store.entryrows import PreparedEntry
from lockgate.gateway.store.port import (
    Admit,
    Append,
    AttemptChange,
    Conflict,
    Control,
    ControlKind,
    Done,
    EpochMoved,
    Existing,
    Forget,
    KeepBundle,
    LockChange,
    Outcome,
    Overdrawn,
    StillTrusted,
    Transition,
)
from lockgate.gateway.store.sqlite.connection import Connection
from lockgate.gateway.store.sqlite.decisions import forget, insert_decisions, keep_bundle
from lockgate.gateway.store.sqlite.prepared import Prepared
from lockgate.gateway.store.sqlite.rows import (
    OPERATION_COLUMNS,
    attempt_row,
    decode,
    due_at,
    encode,
    lane,
    operation_row,
    shown,
    told,
)
from lockgate.gateway.store.sqlite.spends import overdrawn, settle, spend


@dataclass(slots=True)
class Batch:
    """What a transaction has gathered so far; thrown away when it fails."""

    epoch: int
    frontier: Frontier
    entries: list[PreparedEntry] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    moved: bool = False

    def done(self, operation: Operation | None, entries: tuple[PreparedEntry, ...]) -> Done:
        """Accept a command: its entries count, its operation was touched."""
        self.entries += entries
        if operation is None:
            self.moved = True
        else:
            self.touched.add(operation.id)
        return Done(operation, self.epoch, self.frontier.size + len(self.entries))

    def unheard(self) -> Done:
        """Accept what changes nothing that anyone waits for."""
        return Done(None, self.epoch, self.frontier.size + len(self.entries))


def run(db: Connection, batch: Batch, item: Prepared) -> Outcome:
    """Run one command. On any outcome but Done the caller rolls back to before it. Raises the database's errors."""
    match item.command:
        case Admit():
            return _admit(db, batch, item, item.command)
        case Transition():
            return _transition(db, batch, item, item.command)
        case Control():
            return _control(db, batch, item, item.command)
        case Append():
            insert_decisions(db, item.command.decisions, item.decisions)
            return batch.done(None, item.entries) if item.entries else batch.unheard()
        case Forget():
            forget(db, item.command)
            return batch.unheard()
        case KeepBundle():
            keep_bundle(db, item.command)
            return batch.unheard()
        case _:
            assert_never(item.command)


_INSERT_OPERATION = (
    f"INSERT INTO operation {OPERATION_COLUMNS} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608  (a constant)
)


def _admit(db: Connection, batch: Batch, item: Prepared, command: Admit) -> Outcome:
    scope, operation = command.idempotency_scope, command.operation
    if scope is not None:
        row = db.execute(
            "SELECT body FROM operation WHERE id = (SELECT operation FROM idempotency WHERE scope = ?)", (scope,)
        ).fetchone()
        if row:
            return Existing(decode(Operation, row[0]))
    if command.epoch != batch.epoch:
        return EpochMoved(batch.epoch)
    over = overdrawn(db, command.claims)
    if over is not None:
        return Overdrawn(over)
    if db.execute(_INSERT_OPERATION, operation_row(operation, item.operation)).rowcount != 1:
        return Conflict("operation")
    if command.spends:
        spend(db, operation)
    if scope is not None:
        db.execute("INSERT INTO idempotency (scope, operation) VALUES (?, ?)", (scope, operation.id))
    insert_decisions(db, (command.decision, *command.further_decisions), item.decisions)
    return batch.done(operation, item.entries)


def _transition(db: Connection, batch: Batch, item: Prepared, command: Transition) -> Outcome:
    if command.epoch is not None and command.epoch != batch.epoch:
        return EpochMoved(batch.epoch)
    if command.trusted is not None and not _trusted(db, command.trusted):
        return Conflict("trusted")
    over = overdrawn(db, command.claims)
    if over is not None:
        return Overdrawn(over)
    if command.operation is not None and not _set_operation(db, command, item.operation):
        return Conflict("operation")
    for attempt in command.attempts:
        if not _set_attempt(db, attempt):
            return Conflict("attempt")
    for lock in command.locks:
        if not _set_lock(db, lock, command.now):
            return Conflict("lock")
    if not _add_votes(db, command):
        return Conflict("vote")
    insert_decisions(db, command.decisions, item.decisions)
    _add_evidence(db, command)
    return batch.done(command.operation, item.entries)


def _trusted(db: Connection, trusted: StillTrusted) -> bool:
    for token, principal, issued_at in trusted.tokens:
        revoked = db.execute(
            "SELECT 1 FROM revocation WHERE (kind = 'token' AND subject = ?)"
            " OR (kind = 'principal' AND subject = ? AND at >= ?)",
            (token, principal, issued_at),
        ).fetchone()
        if revoked:
            return False
    return not any(db.execute("SELECT 1 FROM freeze WHERE scope = ?", (scope,)).fetchone() for scope in trusted.scopes)


def _set_operation(db: Connection, command: Transition, body: bytes | None) -> bool:
    operation = command.operation
    if operation is None:
        return False
    changed = db.execute(
        "UPDATE operation SET lane = ?, state = ?, version = ?, due_at = ?, updated_at = ?, told = ?, body = ?"
        " WHERE id = ? AND version = ?",
        (
            lane(operation),
            operation.state.value,
            operation.version,
            due_at(operation),
            operation.updated_at,
            told(operation),
            body,
            operation.id,
            command.expected_version,
        ),
    )
    if changed.rowcount != 1:
        return False
    if command.spends:
        spend(db, operation)
    settle(db, operation)
    return True


def _set_attempt(db: Connection, change: AttemptChange) -> bool:
    attempt = change.attempt
    if change.expected is None:
        done = db.execute(
            "INSERT INTO attempt (id, operation, fence, state, runner, poll_id, lease_until, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            attempt_row(attempt),
        )
    else:
        done = db.execute(
            "UPDATE attempt SET state = ?, lease_until = ?, body = ?"
            " WHERE id = ? AND operation = ? AND fence = ? AND runner = ? AND state = ? AND lease_until = ifnull(?, lease_until)",
            (
                attempt.state.value,
                attempt.lease_until,
                encode(attempt),
                attempt.id,
                attempt.operation,
                attempt.fence,
                attempt.runner,
                change.expected.value,
                change.expected_lease_until,
            ),
        )
    return bool(done.rowcount == 1)


def _set_lock(db: Connection, change: LockChange, now: int) -> bool:
    there = db.execute("SELECT state, attempt FROM target_lock WHERE name = ?", (change.name,)).fetchone()
    if (there or (LockState.FREE.value, None)) != (change.expected.value, change.expected_attempt):
        return False
    db.execute(
        "INSERT INTO target_lock (name, state, attempt, since) VALUES (?, ?, ?, ?) ON CONFLICT (name)"
        " DO UPDATE SET state = excluded.state, attempt = excluded.attempt, since = excluded.since",
        (change.name, change.to.value, change.attempt, now),
    )
    return True


def _add_votes(db: Connection, command: Transition) -> bool:
    for vote in command.votes:
        key = (vote.operation, vote.voter.id, vote.verdict, shown(vote))
        counted = db.execute(
            "SELECT 1 FROM vote WHERE operation = ? AND voter = ? AND verdict = ? AND shown = ? AND expires_at > ?",
            (*key, command.now),
        ).fetchone()
        if counted:
            return False
        db.execute(
            "INSERT INTO vote (operation, voter, verdict, shown, expires_at, body) VALUES (?, ?, ?, ?, ?, ?)",
            (*key, vote.expires_at, encode(vote)),
        )
    return True


def _add_evidence(db: Connection, command: Transition) -> None:
    """Evidence is named by its digest, so the same piece again is no change."""
    for item in command.envelopes:
        db.execute(
            "INSERT INTO envelope (sha256, operation, attempt, kind, envelope) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (item.sha256, item.operation, item.attempt, item.kind, item.envelope),
        )
    for plan in command.plans:
        db.execute(
            "INSERT INTO plan_bytes (operation, semantic_sha256, data) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (plan.operation, plan.semantic_sha256, plan.data),
        )


def _control(db: Connection, batch: Batch, item: Prepared, command: Control) -> Outcome:
    kind, subject, now = command.kind, command.subject, command.now
    match kind:
        case ControlKind.REVOKE_TOKEN | ControlKind.REVOKE_PRINCIPAL:
            sql = (
                "INSERT INTO revocation (kind, subject, at) VALUES (?, ?, ?) ON CONFLICT (kind, subject)"
                " DO UPDATE SET at = excluded.at WHERE excluded.at > revocation.at AND kind = 'principal'"
            )
            changed = db.execute(sql, (kind.value.removeprefix("revoke_"), subject, now)).rowcount
        case ControlKind.FREEZE:
            changed = db.execute(
                "INSERT INTO freeze (scope, at) VALUES (?, ?) ON CONFLICT DO NOTHING", (subject, now)
            ).rowcount
        case ControlKind.UNFREEZE:
            changed = db.execute("DELETE FROM freeze WHERE scope = ?", (subject,)).rowcount
        case ControlKind.POLICY | ControlKind.CATALOG | ControlKind.KEYSET:
            sql = (
                "INSERT INTO revision (kind, subject, at) VALUES (?, ?, ?) ON CONFLICT (kind)"
                " DO UPDATE SET subject = excluded.subject, at = excluded.at WHERE excluded.subject <> revision.subject"
            )
            changed = db.execute(sql, (kind.value, subject, now)).rowcount
            if changed != 1:
                # A restart loads the same revision again: that is no event.
                return batch.unheard()
        case _:
            assert_never(kind)
    if changed == 1:
        batch.epoch += 1
    insert_decisions(db, command.decisions, item.decisions)
    return batch.done(None, item.entries)
