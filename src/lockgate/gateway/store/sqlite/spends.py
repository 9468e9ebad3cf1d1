"""What operations use of budgets, as rows written beside the operation in its own transaction, and the claims that hold there. It must not decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.spending import UNDER_WAY, amounts_of, humans_behind, spends, until
from lockgate.gateway.store.port import Admit, Claim, Scope, Sum
from lockgate.gateway.store.sqlite.bulk import insert
from lockgate.gateway.store.sqlite.connection import Connection
from lockgate.gateway.store.sqlite.sums import used
from lockgate.policy.needs import Counts

_COLUMNS = "ordinal, tenant, principal, human, human_too, target, until, changes, destroys, weight"
_UPSERT = (
    f"INSERT INTO spend ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ordinal)"  # noqa: S608  (a constant)
    " DO UPDATE SET changes = excluded.changes, destroys = excluded.destroys, weight = excluded.weight"
)
_OF = "(SELECT ordinal FROM operation WHERE id = ?)"


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


def overdrawn(db: Connection, claims: Sequence[Claim]) -> str | None:
    """The budget of the first claim that does not hold."""
    sums = used(db, [claim.sum for claim in claims])
    return next(
        (claim.budget for claim, total in zip(claims, sums, strict=True) if total + claim.asked > claim.limit), None
    )


def surely_held(db: Connection, admits: Sequence[Admit]) -> list[bool]:
    """Of each whether its claims hold whichever of the others is recorded before it; where not, nobody knows yet.

    Adds up once what many claim of, from the earliest of their moments on (later ones count no more than that), and takes all the others as recorded.
    """
    earliest: dict[tuple[Scope, Counts, int, str | None], Sum] = {}
    for claim in (claim for admit in admits for claim in admit.claims):
        there = earliest.setdefault(_moved(claim.sum), claim.sum)
        if claim.sum.now < there.now:
            earliest[_moved(claim.sum)] = claim.sum
    totals = dict(zip(earliest, used(db, list(earliest.values())), strict=True))
    others = _uses(admits)
    return [
        all(
            totals[_moved(claim.sum)] + others[_narrowest(claim.sum)] + claim.asked <= claim.limit
            for claim in admit.claims
        )
        for admit in admits
    ]


def _moved(one: Sum) -> tuple[Scope, Counts, int, str | None]:
    """What two sums have in common that differ only in their moment."""
    return one.scope, one.counts, one.window, one.besides


def _uses(admits: Sequence[Admit]) -> Counter[tuple[Counts, str | None, str | None]]:
    """What all of them use together: of everybody, of each principal, and of each target."""
    uses: Counter[tuple[Counts, str | None, str | None]] = Counter()
    for operation in (admit.operation for admit in admits if admit.spends and spends(admit.operation)):
        plan = amounts_of(operation)
        for counts in Counts:
            for key in ((None, None), (operation.principal.id, None), (None, operation.target)):
                uses[counts, *key] += plan.of(counts)
    return uses


def _narrowest(one: Sum) -> tuple[Counts, str | None, str | None]:
    """The part of `_uses` that has at least everything of a sum."""
    scope = one.scope
    if scope.principal is not None:
        return one.counts, scope.principal, None
    return one.counts, None, scope.targets[0] if scope.targets is not None and len(scope.targets) == 1 else None


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
