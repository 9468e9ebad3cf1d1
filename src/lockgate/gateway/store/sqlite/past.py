"""What readers are told of the past: one principal's latest operations, and sums with the time at which enough is free. It must not judge them."""

from __future__ import annotations

from typing import Any, Final

import orjson

from lockgate.gateway.store.past import MAX_ADDED, MAX_PAST, MAX_USED, Asking, Past, PastOperation, ReadPast, Used
from lockgate.gateway.store.sqlite.connection import Connection
from lockgate.gateway.store.sqlite.sums import Addition, newest

FEW_SUMS: Final = 16
FEW_ADDED: Final = 4_000
"""How many sums, and how many operations in all of them, are added up in the event loop: some 100 ns each."""

# One text: each row that is fetched gives the interpreter lock away. All of it stands in the index.
_HISTORY: Final = (
    "(SELECT group_concat(one) FROM (SELECT json_array(updated_at, ordinal, id, target, state, json(told)) AS one"  # noqa: S608  (a constant)
    " FROM operation INDEXED BY operation_of_principal"
    " WHERE tenant = :tenant AND principal = :principal AND updated_at > :since AND id IS NOT :besides"
    f" ORDER BY updated_at DESC, ordinal DESC LIMIT {MAX_PAST + 1}))"
)


def read_past(db: Connection, query: ReadPast) -> Past:
    """Everything of one moment, in a fixed order: the same rows give the same answer."""
    db.execute("BEGIN")
    try:
        operations, cut_at, totals = _read(db, query, MAX_ADDED)
        sums = tuple(
            _used(db, asking, MAX_USED if total is None else total)
            for asking, total in zip(query.sums, totals, strict=True)
        )
    finally:
        db.execute("COMMIT")
    return Past(operations, cut_at, sums)


def read_past_at_once(db: Connection, query: ReadPast) -> Past | None:
    """The same by one statement; None where more would have to be looked at than a few hundred microseconds allow."""
    if len(query.sums) > FEW_SUMS:
        return None
    operations, cut_at, totals = _read(db, query, FEW_ADDED // max(1, len(query.sums)))
    sums = []
    for asking, total in zip(query.sums, totals, strict=True):
        if total is None or total + asking.asked > asking.limit:
            return None
        sums.append(Used(total))
    return Past(operations, cut_at, tuple(sums))


def _read(
    db: Connection, query: ReadPast, at_most: int
) -> tuple[tuple[PastOperation, ...], int | None, list[int | None]]:
    """Operations, where they were cut, and sums of at most so many operations each."""
    addition = Addition([asking.sum for asking in query.sums], at_most)
    columns = ["NULL" if query.since is None else _HISTORY, *addition.columns]
    values = {
        "tenant": query.tenant,
        "principal": query.principal,
        "since": query.since,
        "besides": query.besides,
        **addition.values,
    }
    told, *totals = db.execute(f"SELECT {', '.join(columns)}", values).fetchone()
    rows: list[list[Any]] = orjson.loads(f"[{told or ''}]")
    rows.sort(reverse=True)  # by time, then ordinal: what is put together has no order
    cut_at = rows[MAX_PAST][0] if len(rows) > MAX_PAST else None
    return tuple(map(_operation, rows[:MAX_PAST])), cut_at, addition.read(totals)


def _operation(row: list[Any]) -> PastOperation:
    at, _, name, target, state, (action, effect, rules) = row
    return PastOperation(name, action, effect, target, state, tuple(rules), at)


def _used(db: Connection, asking: Asking, total: int) -> Used:
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
