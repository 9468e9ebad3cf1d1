"""Adds up what operations use of budgets, for readers and inside the writer's transaction. It must not judge a sum, nor write a row.

Many are added up by one statement, and its answer is one row: each row that is fetched gives the interpreter lock away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from lockgate.gateway.operations.spending import UNDER_WAY
from lockgate.gateway.store.past import MAX_ADDED, MAX_USED, MOST, Sum, UsedMost
from lockgate.gateway.store.sqlite.bulk import pieces
from lockgate.gateway.store.sqlite.connection import Connection
from lockgate.policy.needs import Counts, Per

_WHO = {
    Per.PRINCIPAL: ("principal",),
    Per.OWNER: ("human", "human_too"),
    Per.TARGET: ("target",),
    Per.TENANT: ("tenant",),
}
_AMOUNTS = {counts: "1" if counts is Counts.OPERATIONS else counts.value for counts in Counts}


class Addition:
    """Some sums as columns of one SELECT, with its values; `at_most` is how many operations one of them adds up. Names of values end in `_` and a number."""

    def __init__(self, sums: Sequence[Sum], at_most: int = MAX_ADDED) -> None:
        self.columns = [
            f"(SELECT iif(count(*) > {at_most}, NULL, ifnull(sum(amount), 0))"  # noqa: S608  (constants of this module)
            f" FROM (SELECT amount FROM ({_counted(one, f':{{}}_{number}')}) LIMIT {at_most + 1}))"
            for number, one in enumerate(sums)
        ]
        self.values = {
            f"{name}_{number}": value for number, one in enumerate(sums) for name, value in _values(one).items()
        }

    @staticmethod
    def read(columns: Sequence[int | None]) -> list[int | None]:
        """The sums, each at most `MAX_USED`; None where more operations count than are added up."""
        return [None if total is None else min(total, MAX_USED) for total in columns]


def used(db: Connection, sums: Sequence[Sum]) -> list[int]:
    """What each sum is, at most `MAX_USED`; that too where more operations count than are added up."""
    shapes: dict[str, list[int]] = {}
    for index, one in enumerate(sums):
        shapes.setdefault(_counted(one, ":{}"), []).append(index)
    totals = dict.fromkeys(range(len(sums)), MAX_USED)
    for indexes in shapes.values():
        for some in pieces(indexes):
            addition = Addition([sums[index] for index in some])
            row = db.execute(f"SELECT {', '.join(addition.columns)}", addition.values).fetchone()
            totals |= {index: total for index, total in zip(some, addition.read(row), strict=True) if total is not None}
    return list(totals.values())


def newest(db: Connection, asked: Sum) -> Iterator[tuple[int | None, int]]:
    """(when it ended, amount) of what is added up, what is under way (None) first, then the newest."""
    rows = _counted(asked, ":{}")
    for ended, amount in db.execute(f"{rows} ORDER BY until DESC LIMIT {MAX_ADDED}", _values(asked)):
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


def _counted(asked: Sum, field: str) -> str:
    """SQL for the rows that a sum adds up, with `until` and `amount`; `field` is how it names a value of `_values`.

    Found by an index that is named and holds all that is looked at: a plan that reads every row of the tenant is refused rather than run.
    """
    scope, value = asked.scope, field.format
    found = f"tenant = {value('tenant')} AND until > {value('since')}"
    narrowed = f" AND ordinal IS NOT (SELECT ordinal FROM operation WHERE id = {value('besides')})"  # noqa: S608
    index = "spend_of_tenant"
    if scope.targets is not None and len(scope.targets) == 1:
        index = "spend_of_target"
        narrowed += f" AND target = {value('target')}"
    elif scope.targets is not None:
        # The plus keeps this from being taken for a way to find rows: there may be thousands of names.
        narrowed += f" AND +target IN (SELECT value FROM json_each({value('targets')}))"  # noqa: S608
    if scope.principal is not None:
        index = "spend_of_principal"
        narrowed += f" AND principal = {value('principal')}"
    rows = f"SELECT until, {_AMOUNTS[asked.counts]} AS amount FROM spend INDEXED BY"  # noqa: S608
    if not scope.humans:
        return f"{rows} {index} WHERE {found}{narrowed}"
    humans = f"({value('human')}, {value('human_too')})"
    return (
        f"{rows} spend_of_human WHERE {found} AND human IN {humans}{narrowed}"
        f" UNION ALL {rows} spend_of_human_too WHERE {found} AND human_too IN {humans} AND human NOT IN {humans}{narrowed}"
    )


def _values(asked: Sum) -> dict[str, Any]:
    scope = asked.scope
    values: dict[str, Any] = {"tenant": scope.tenant, "since": asked.now - asked.window, "besides": asked.besides}
    if scope.targets is not None and len(scope.targets) == 1:
        values["target"] = scope.targets[0]
    elif scope.targets is not None:
        values["targets"] = orjson.dumps(scope.targets).decode()
    if scope.principal is not None:
        values["principal"] = scope.principal
    if scope.humans:
        values |= {"human": scope.humans[0], "human_too": scope.humans[-1]}
    return values
