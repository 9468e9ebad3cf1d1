"""What is used of the budgets now, for people: by whom, and by one operation that waits. It must not judge, nor claim anything."""

from __future__ import annotations

from typing import Any

from lockgate.gateway.core import Core
from lockgate.gateway.operations.judging import parts
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.past import Moment, tell
from lockgate.gateway.operations.spending import WEIGHTS, spends
from lockgate.gateway.store.port import UsedMost


async def in_use(core: Core, tenant: str) -> tuple[dict[str, Any], ...]:
    """Every budget of the policy in force with those of the tenant who use most of it."""
    selected, now = core.selected.of(core.catalog.current), core.clock()
    found = []
    for budget in core.engine.needs.budgets:
        window = budget.window_seconds * 1000
        query = UsedMost(tenant, budget.per, budget.counts, now, window, selected.names(budget, tenant))
        found.append(
            {
                "name": budget.name,
                "per": budget.per.value,
                "counts": budget.counts.value,
                "window_seconds": budget.window_seconds,
                "limit": budget.limit,
                "used": [{"who": who, "used": used} for who, used in await core.store.read(query)],
            }
        )
    return tuple(found)


async def over(core: Core, operation: Operation) -> tuple[str, ...]:
    """The budgets in which there is no room for the operation now, as sentences."""
    found = parts(core, operation)
    if found is None:
        return ()
    plan = None if operation.plan is None else {"summary": {kind: getattr(operation.plan, kind) for kind in WEIGHTS}}
    moment = Moment(operation.principal, *found, core.clock(), operation.id, spends(operation), plan)
    told = await tell(core.store, core.engine.needs, core.selected.of(core.catalog.current), moment)
    return tuple(
        _sentence(name, one)
        for name, one in told.context.get("budgets", {}).items()
        if one["used"] + one["asked"] > one["limit"]
    )


def _sentence(name: str, budget: dict[str, Any]) -> str:
    free = budget["free_at"]
    when = (
        f"enough is free at {free}" if free else "nobody can tell when enough is free: too much is under way or asked"
    )
    taken = f"{budget['used']} used and {budget['asked']} asked of {budget['limit']} in {budget['window_seconds']} s"
    return f"budget {name}: {taken}; {when}"
