"""What readers are told of the past: one principal's latest operations, and sums with the time at which enough is free. It must not judge them."""

from __future__ import annotations

from typing import Any

import orjson

from lockgate.gateway.store.past import MAX_PAST, Asking, Past, PastOperation, ReadPast, Used
from lockgate.gateway.store.sqlite.connection import Connection
from lockgate.gateway.store.sqlite.spends import newest, used


def read_past(db: Connection, query: ReadPast) -> Past:
    """Everything of one moment, in a fixed order: the same rows give the same answer."""
    db.execute("BEGIN")
    try:
        rows = _rows(db, query)
        sums = tuple(_used(db, asking) for asking in query.sums)
    finally:
        db.execute("COMMIT")
    cut_at = rows[MAX_PAST][0] if len(rows) > MAX_PAST else None
    return Past(tuple(_operation(body) for _, body in rows[:MAX_PAST]), cut_at, sums)


def _rows(db: Connection, query: ReadPast) -> list[tuple[int, bytes]]:
    if query.since is None:
        return []
    found = db.execute(
        "SELECT updated_at, body FROM operation INDEXED BY operation_of_principal"
        " WHERE tenant = ? AND principal = ? AND updated_at > ? AND id IS NOT ? ORDER BY updated_at DESC, ordinal DESC LIMIT ?",
        (query.tenant, query.principal, query.since, query.besides, MAX_PAST + 1),
    )
    return [(row[0], row[1]) for row in found.fetchall()]


def _operation(body: bytes) -> PastOperation:
    """Of the stored document only what history tells: all of it would cost fifty times as much to read."""
    document: dict[str, Any] = orjson.loads(body)
    rules = tuple(reason["rule"] for reason in document["reasons"]) if document["state"] == "denied" else ()
    return PastOperation(
        document["id"],
        document["action"],
        document["effect"],
        document["target"],
        document["state"],
        rules,
        document["updated_at"],
    )


def _used(db: Connection, asking: Asking) -> Used:
    total = used(db, asking.sum)
    if total + asking.asked <= asking.limit:
        return Used(total)
    return Used(total, _free_at(db, asking))


def _free_at(db: Connection, asking: Asking) -> int | None:
    """When the one whose leaving makes room leaves the window, if it is not under way: nobody knows when that ends."""
    total = asking.asked
    if total > asking.limit:
        return None
    for ended, amount in newest(db, asking.sum):
        total += amount
        if total > asking.limit:
            return None if ended is None else ended + asking.sum.window
    return None
