"""What an operation uses of budgets, and from when to when: pure rules over its record. They must not know a budget or a store.

An operation counts from the transaction that acts on its first *allow* until it ends, and for a budget's window after that if it changed anything.
What was denied, cancelled, expired or changed nothing counts no more; a read or a dry run never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lockgate.contract.intent import Effect, Principal, PrincipalKind
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.states import EffectShown
from lockgate.policy.needs import Counts

UNDER_WAY: Final = (1 << 63) - 1
"""`until` of what has not ended: later than any time."""

WEIGHTS: Final[Mapping[str, int]] = {"create": 1, "update": 5, "delete": 10, "replace": 11}
"""The weight of one change. A replace is a delete and a create."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a plan would change, by what budgets count."""

    changes: int = 0
    destroys: int = 0
    weight: int = 0

    def of(self, counts: Counts) -> int:
        """The amount that counts; an operation is one operation."""
        return 1 if counts is Counts.OPERATIONS else int(getattr(self, counts.value))


def amounts(summary: Mapping[str, int]) -> Amounts:
    """Of a plan's `summary` (create, update, delete, replace)."""
    return Amounts(
        changes=sum(summary[kind] for kind in WEIGHTS),
        destroys=summary["delete"] + summary["replace"],
        weight=sum(summary[kind] * weight for kind, weight in WEIGHTS.items()),
    )


def amounts_of(operation: Operation) -> Amounts:
    """Of an operation as far as it is known: nothing before its plan."""
    plan = operation.plan
    return Amounts() if plan is None else amounts({kind: getattr(plan, kind) for kind in WEIGHTS})


def spends(operation: Operation) -> bool:
    """Whether the operation may change something at all."""
    return operation.effect is not Effect.READ and not operation.dry_run


def until(operation: Operation) -> int | None:
    """When what it changed begins to age (Unix ms); `UNDER_WAY` before its end; None when it ended without changing anything.

    With the clock stepped back an operation does not end before it began.
    """
    if not operation.place.final:
        return UNDER_WAY
    if operation.effect_shown is EffectShown.NONE:
        return None
    return max(operation.created_at, operation.updated_at)


def humans_behind(principal: Principal) -> tuple[str, ...]:
    """The one or two humans that budgets `per: owner` add up for: however many agents one has, they share; who has none stands alone."""
    if principal.kind is PrincipalKind.HUMAN:
        return (principal.id,)
    return tuple(sorted({who for who in (principal.owner, principal.on_behalf_of) if who})) or (principal.id,)
