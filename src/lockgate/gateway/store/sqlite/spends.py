"""What operations use of budgets, as rows: written beside the operation in its own transaction, added up there and for readers. It must not judge a sum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.spending import UNDER_WAY, amounts_of, humans_behind, spends, until
from lockgate.gateway.store.past import MAX_ADDED, MAX_USED, MOST, Claim, Sum, UsedMost
from lockgate.gateway.store.sqlite.bulk import insert
from lockgate.gateway.store.sqlite.connection import Connection
from lockgate.policy.needs import Counts, Per

_COLUMNS = "ordinal, tenant, principal, human, human_too, target, until, changes, destroys, weight"
_UPSERT = (
    f"INSERT INTO spend ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ordinal)"  # noqa: S608  (a constant)
    " DO UPDATE SET changes = excluded.changes, destroys = excluded.destroys, weight = excluded.weight"
)
_OF = "(SELECT ordinal FROM operation WHERE id = ?)"
_WHO = {
    Per.PRINCIPAL: ("principal",),
    Per.OWNER: ("human", "human_too"),
    Per.TARGET: ("target",),
    Per.TENANT: ("tenant",),
}
_AMOUNTS = {counts: "1" if counts is Counts.OPERATIONS else counts.value for counts in Counts}


def spend_all(db: Connection, operations: Sequence[tuple[int, Operation]]) -> None:
    """New operations, each with its ordinal, count from now on."""
    insert(db, f"spend ({_COLUMNS})", [_row(*one) for one in operations if spends(one[1])])


def spend(db: Connection, operation: Operation) -> None:
    """The operation counts from now on, with what its plan says."""
    if spends(operation):
        (ordinal,) = db.execute("SELECT ordinal FROM operation WHERE id = ?", (operation.id,)).fetchone()
        db.execute(_UPSERT, _row(ordinal, operation))


def settle(db: Connection, operation: Operation) -> None:
    """An operation that has ended counts for a window more, or not at all."""
    if not operation.place.final or not spends(operation):
        return
    ended = until(operation)
    if ended is None:
        db.execute(f"DELETE FROM spend WHERE ordinal = {_OF}", (operation.id,))  # noqa: S608  (a constant)
    else:
        db.execute(f"UPDATE spend SET until = ? WHERE ordinal = {_OF}", (ended, operation.id))  # noqa: S608


def overdrawn(db: Connection, claims: Iterable[Claim]) -> str | None:
    """The budget of the first claim that does not hold."""
    return next((claim.budget for claim in claims if used(db, claim.sum) + claim.asked > claim.limit), None)


def used(db: Connection, asked: Sum) -> int:
    """What a sum is, at most `MAX_USED`; that too where more operations count than are added up."""
    counted, values = _counted(asked)
    sql = (
        "SELECT count(*), ifnull(sum(amount), 0) FROM"  # noqa: S608  (constants of this module)
        f" (SELECT {_AMOUNTS[asked.counts]} AS amount FROM {counted} LIMIT {MAX_ADDED + 1})"
    )
    count, total = db.execute(sql, values).fetchone()
    return MAX_USED if count > MAX_ADDED else min(int(total), MAX_USED)


def newest(db: Connection, asked: Sum) -> Iterator[tuple[int | None, int]]:
    """(when it ended, amount) of what is added up, what is under way (None) first, then the newest."""
    counted, values = _counted(asked)
    sql = f"SELECT until, {_AMOUNTS[asked.counts]} FROM {counted} ORDER BY until DESC LIMIT {MAX_ADDED}"  # noqa: S608
    for ended, amount in db.execute(sql, values):
        yield None if ended == UNDER_WAY else ended, amount


def used_most(db: Connection, query: UsedMost) -> tuple[tuple[str, int], ...]:
    """The greatest users first, those of the same amount by name."""
    values: dict[str, Any] = {"tenant": query.tenant, "since": query.now - query.window}
    where = "tenant = :tenant AND until > :since"
    if query.targets is not None:
        where += " AND +target IN (SELECT value FROM json_each(:targets))"
        values["targets"] = orjson.dumps(query.targets).decode()
    amount = _AMOUNTS[query.counts]
    rows = " UNION ALL ".join(
        f"SELECT {column} AS who, {amount} AS amount FROM (SELECT * FROM spend INDEXED BY spend_of_tenant WHERE {where} LIMIT {MAX_ADDED})"  # noqa: S608
        for column in _WHO[query.per]
    )
    sql = (
        f"SELECT who, sum(amount) AS used FROM ({rows}) WHERE who IS NOT NULL"  # noqa: S608  (constants of this module)
        f" GROUP BY who HAVING used > 0 ORDER BY used DESC, who LIMIT {MOST}"
    )
    return tuple((str(who), min(int(total), MAX_USED)) for who, total in db.execute(sql, values).fetchall())


def _row(ordinal: int, operation: Operation) -> tuple[Any, ...]:
    plan, humans = amounts_of(operation), humans_behind(operation.principal)
    return (
        ordinal,
        operation.tenant,
        operation.principal.id,
        humans[0],
        humans[1] if len(humans) > 1 else None,
        operation.target,
        UNDER_WAY,
        plan.changes,
        plan.destroys,
        plan.weight,
    )


def _counted(asked: Sum) -> tuple[str, dict[str, Any]]:
    """The rows that a sum adds up, found by an index that is named: a plan that reads every row of the tenant is refused rather than run."""
    scope = asked.scope
    values: dict[str, Any] = {"tenant": scope.tenant, "since": asked.now - asked.window, "besides": asked.besides}
    timed = "tenant = :tenant AND until > :since"
    index, parts = "spend_of_tenant", [timed, "ordinal IS NOT (SELECT ordinal FROM operation WHERE id = :besides)"]
    if scope.targets is not None and len(scope.targets) == 1:
        index = "spend_of_target"
        parts.append("target = :target")
        values["target"] = scope.targets[0]
    elif scope.targets is not None:
        # The plus keeps this from being taken for a way to find rows: there may be thousands of names.
        parts.append("+target IN (SELECT value FROM json_each(:targets))")
        values["targets"] = orjson.dumps(scope.targets).decode()
    if scope.principal is not None:
        index = "spend_of_principal"
        parts.append("principal = :principal")
        values["principal"] = scope.principal
    if not scope.humans:
        return f"spend INDEXED BY {index} WHERE {' AND '.join(parts)}", values
    values |= {"human": scope.humans[0], "human_too": scope.humans[-1]}
    found = " UNION ".join(
        f"SELECT ordinal FROM spend INDEXED BY spend_of_{column} WHERE {timed} AND {column} IN (:human, :human_too)"  # noqa: S608
        for column in ("human", "human_too")
    )
    return f"spend WHERE ordinal IN ({found}) AND {' AND '.join(parts)}", values
