"""All new operations of a batch at once: looked up by one statement, inserted by few. It must answer as one by one would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from lockgate.gateway.operations.model import DecisionRecord, Operation
from lockgate.gateway.store.port import Admit, EpochMoved, Existing, Outcome
from lockgate.gateway.store.sqlite.bulk import insert
from lockgate.gateway.store.sqlite.commands import Batch
from lockgate.gateway.store.sqlite.connection import Connection, IntegrityError
from lockgate.gateway.store.sqlite.decisions import insert_decisions
from lockgate.gateway.store.sqlite.prepared import Prepared
from lockgate.gateway.store.sqlite.rows import OPERATION_COLUMNS, decode, operation_row
from lockgate.gateway.store.sqlite.spends import spend_all

_TAKEN = (
    "SELECT i.scope, o.body FROM json_each(?) AS asked"
    " JOIN idempotency AS i ON i.scope = asked.value JOIN operation AS o ON o.id = i.operation"
)


def admit_all(db: Connection, batch: Batch, items: Sequence[Prepared]) -> list[Outcome] | None:
    """The outcomes in order; None when some of them stand in each other's way: nothing was done, run them one by one."""
    commands = [item.command for item in items if isinstance(item.command, Admit)]
    scopes = [command.idempotency_scope for command in commands if command.idempotency_scope is not None]
    if len(set(scopes)) != len(scopes):
        return None
    taken = dict(db.execute(_TAKEN, (orjson.dumps(scopes).decode(),)).fetchall()) if scopes else {}
    fresh: list[Prepared] = []
    refused: dict[int, Outcome] = {}
    for index, (command, item) in enumerate(zip(commands, items, strict=True)):
        scope = command.idempotency_scope
        if scope in taken:
            refused[index] = Existing(decode(Operation, taken[scope]))
        elif command.epoch != batch.epoch:
            refused[index] = EpochMoved(batch.epoch)
        else:
            fresh.append(item)
    if not _insert(db, fresh):
        return None
    return [
        refused.get(index) or batch.done(command.operation, item.entries)
        for index, (command, item) in enumerate(zip(commands, items, strict=True))
    ]


def _insert(db: Connection, items: Sequence[Prepared]) -> bool:
    operations: list[tuple[Any, ...]] = []
    scopes: list[tuple[Any, ...]] = []
    decisions: list[tuple[Any, ...]] = []
    records: list[DecisionRecord] = []
    spending: list[tuple[int, Operation]] = []
    for item in items:
        command = item.command
        if isinstance(command, Admit):
            operations.append(operation_row(command.operation, item.operation))
            decisions += item.decisions
            records += (command.decision, *command.further_decisions)
            if command.idempotency_scope is not None:
                scopes.append((command.idempotency_scope, command.operation.id))
            if command.spends:
                spending.append((len(operations), command.operation))
    db.execute("SAVEPOINT admits")
    try:
        insert(db, f"operation {OPERATION_COLUMNS}", operations)
        # One writer, one transaction: their ordinals are the last ones, in this order.
        before = db.execute("SELECT ifnull(max(ordinal), 0) FROM operation").fetchone()[0] - len(operations)
        insert(db, "idempotency (scope, operation)", scopes)
        insert_decisions(db, records, decisions)
        spend_all(db, [(before + number, operation) for number, operation in spending])
    except (IntegrityError, OverflowError, UnicodeEncodeError):
        db.execute("ROLLBACK TO admits")
        return False
    finally:
        if db.in_transaction:
            db.execute("RELEASE admits")
    return True
