"""What policy is told of the past, read from the store for one question: history and budgets, and the claims that hold it. It must not judge them.

Which budgets there are, and whether history is told at all, is for the loaded policy data to say; without either the store is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockgate.contract.decision import Question
from lockgate.contract.intent import Effect, Principal
from lockgate.gateway.catalog.model import Action, Catalog, Target
from lockgate.gateway.operations.spending import Amounts, amounts, humans_behind
from lockgate.gateway.operations.timestamps import rfc3339
from lockgate.gateway.store.port import Asking, Claim, Past, ReadPast, Scope, Store, Sum, Used
from lockgate.policy.needs import Budget, Needs, Per

QUESTIONS: Final = frozenset({Question.REQUEST, Question.PLAN, Question.APPLY, Question.HEAL})
"""The questions that are told of the past: those whose yes leads to a run."""

MAX_RULES: Final = 32
MAX_RULE: Final = 256
"""How many rules of a denial are told, and how many characters of each: an input that breaks its schema would deny everything else."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Who asks for what, when (Unix ms); `besides` is the operation in question, which is no past of its own."""

    principal: Principal
    action: Action
    target: Target
    now: int
    besides: str | None
    spends: bool
    plan: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Told:
    """Parts of `context` in policy input, and what must still hold when an *allow* on them is acted on."""

    context: Mapping[str, Any]
    claims: tuple[Claim, ...] = ()


class Selected:
    """Which targets of one catalog budgets select, found once: a catalog may have thousands, and each question asks."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._names: dict[tuple[Budget, str], tuple[str, ...] | None] = {}

    def names(self, budget: Budget, tenant: str) -> tuple[str, ...] | None:
        """The names of the tenant's targets that the budget selects, sorted; None where it has no selector."""
        if budget.every_target:
            return None
        known = self._names.get((budget, tenant))
        if known is None:
            mine = (one for one in self.catalog.targets.values() if one.tenant == tenant)
            known = tuple(sorted(one.name for one in mine if budget.selects(selected_by(one))))
            self._names[budget, tenant] = known
        return known


class Selections:
    """The `Selected` of the catalog in force."""

    def __init__(self) -> None:
        self._latest: Selected | None = None

    def of(self, catalog: Catalog) -> Selected:
        """Made anew for another catalog."""
        if self._latest is None or self._latest.catalog is not catalog:
            self._latest = Selected(catalog)
        return self._latest


async def tell(store: Store, needs: Needs, selected: Selected, moment: Moment) -> Told:
    """History and budgets for one question. Raises StoreError: a question is not put without what its policy needs."""
    changing = moment.action.effect is not Effect.READ
    target = selected_by(moment.target)
    budgets = [budget for budget in needs.budgets if budget.selects(target)] if changing else []
    since = None if needs.history_seconds is None else moment.now - needs.history_seconds * 1000
    context: dict[str, Any] = {"budgets": {}} if needs.budgets else {}
    if not budgets and since is None:
        return Told(context)
    asking = tuple(_asking(budget, selected, moment) for budget in budgets)
    who = moment.principal
    past = await store.read(ReadPast(who.tenant, who.id, since, moment.besides, asking))
    if needs.budgets:
        context["budgets"] = {
            budget.name: _budget_document(budget, one, used)
            for budget, one, used in zip(budgets, asking, past.used, strict=True)
        }
    if since is not None:
        context["history"] = _history_document(past, since, selected.catalog)
    claims = tuple(
        Claim(budget.name, one.sum, one.asked, one.limit)
        for budget, one, used in zip(budgets, asking, past.used, strict=True)
        if one.asked and used.used + one.asked <= one.limit
    )
    return Told(context, claims)


def selected_by(target: Target) -> dict[str, Any]:
    """What a selector looks at of a target."""
    spec = target.spec
    return {"name": spec.name, "environment": spec.environment, "region": spec.region, "labels": dict(spec.labels)}


def _asking(budget: Budget, selected: Selected, moment: Moment) -> Asking:
    window = budget.window_seconds * 1000
    scope = _scope(budget, selected, moment)
    return Asking(Sum(scope, budget.counts, moment.now, window, moment.besides), _asked(budget, moment), budget.limit)


def _asked(budget: Budget, moment: Moment) -> int:
    """What this operation would use: of what only a plan can tell, nothing before there is one."""
    if not moment.spends:
        return 0
    planned = Amounts() if moment.plan is None else amounts(moment.plan["summary"])
    return planned.of(budget.counts)


def _scope(budget: Budget, selected: Selected, moment: Moment) -> Scope:
    """Whose operations count. What a selector means is asked of the catalog of now, also of operations of before."""
    who = moment.principal
    if budget.per is Per.TARGET:
        return Scope(who.tenant, targets=(moment.target.name,))
    targets = selected.names(budget, who.tenant)
    match budget.per:
        case Per.PRINCIPAL:
            return Scope(who.tenant, principal=who.id, targets=targets)
        case Per.OWNER:
            return Scope(who.tenant, humans=humans_behind(who), targets=targets)
        case Per.TENANT:
            return Scope(who.tenant, targets=targets)


def _budget_document(budget: Budget, asking: Asking, used: Used) -> dict[str, Any]:
    document: dict[str, Any] = {
        "window_seconds": budget.window_seconds,
        "limit": budget.limit,
        "used": used.used,
        "asked": asking.asked,
    }
    if used.used + asking.asked > budget.limit:
        # Not before it is free: the time is told to the second.
        document["free_at"] = None if used.free_at is None else rfc3339(used.free_at + 999)
    return document


def _history_document(past: Past, since: int, catalog: Catalog) -> dict[str, Any]:
    """`since` is rounded up: whatever came to its state then or later is told. (One expression: there are sixty of them in a question.)"""
    complete = past.cut_at is None
    from_ms = since if past.cut_at is None else past.cut_at
    targets = catalog.targets
    return {
        "since": rfc3339(from_ms + 1000),
        "complete": complete,
        "operations": [
            {
                "operation": operation,
                "action": action,
                "effect": effect,
                "target": target,
                "environment": None if (known := targets.get(target)) is None else known.spec.environment,
                "state": state,
                "rules": [rule[:MAX_RULE] for rule in rules[:MAX_RULES]] if rules else [],
                "at": rfc3339(at),
            }
            for operation, action, effect, target, state, rules, at in past.operations
        ],
    }
