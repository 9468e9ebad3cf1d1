"""Says how one policy's answer differs from another's on the same input; it evaluates nothing, and calls nothing the same that it cannot judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from lockgate.contract.decision import ENGINE_RULES, Decision
from lockgate.policy.needs import Budget, Needs


class Answer(StrEnum):
    """What a decision comes to for who asked: a denial that time alone may cure is a wait."""

    ALLOW = "allow"
    WAIT = "wait"
    DENY = "deny"


class Change(StrEnum):
    """What would be otherwise under the other policy, the gravest first. `unknown` is no difference: it could not be judged."""

    WOULD_DENY = "would_deny"
    WOULD_ALLOW = "would_allow"
    WOULD_WAIT = "would_wait"
    APPROVALS_ADDED = "approvals_added"
    APPROVALS_CHANGED = "approvals_changed"
    APPROVALS_REMOVED = "approvals_removed"
    OTHER_OBLIGATIONS = "other_obligations"
    OTHER_RULES = "other_rules"
    UNKNOWN = "unknown"
    SAME = "same"


GRAVITY: Final = {change: place for place, change in enumerate(Change)}
DIFFERENCES: Final = frozenset(Change) - {Change.SAME, Change.UNKNOWN}
TOLD_OF_THE_PAST: Final = frozenset({"request", "plan", "apply", "heal"})
"""The questions whose input holds budgets and history, where policy data asks for them."""
_FAULTS: Final = frozenset(ENGINE_RULES) - {"lockgate.engine.no_allow"}
"""An engine's own denials, which say nothing about the policy's mind."""
_TURNS: Final = {
    Answer.DENY: Change.WOULD_DENY,
    Answer.ALLOW: Change.WOULD_ALLOW,
    Answer.WAIT: Change.WOULD_WAIT,
}


@dataclass(frozen=True, slots=True)
class Compared:
    """Two answers to one question, and what changes from `before` to `after`; `why` says why it is unknown."""

    change: Change
    before: Decision
    after: Decision
    why: str = ""

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that say no in one of the two and not in the other."""
        return tuple(sorted(set(rules_of(self.before)) ^ set(rules_of(self.after))))


def answer_of(decision: Decision) -> Answer:
    """Allow, wait or deny."""
    if decision.allow:
        return Answer.ALLOW
    return Answer.WAIT if decision.waitable else Answer.DENY


def rules_of(decision: Decision) -> tuple[str, ...]:
    """The rules that said no."""
    return tuple(violation.rule for violation in decision.violations)


def compare(before: Decision, after: Decision) -> Compared:
    """What `after` changes. Other words of the same rules are no change: whoever asked is let through or stopped by the same."""
    for decision, when in ((before, "then"), (after, "now")):
        fault = next((rule for rule in rules_of(decision) if rule in _FAULTS), None)
        if fault is not None:
            return Compared(Change.UNKNOWN, before, after, f"no policy answered {when}: {fault}")
    if before.input_sha256 != after.input_sha256:
        return Compared(Change.UNKNOWN, before, after, "the two did not see the same input")
    return Compared(_change(before, after), before, after)


def _change(before: Decision, after: Decision) -> Change:
    to = answer_of(after)
    if answer_of(before) is not to:
        return _TURNS[to]
    if to is not Answer.ALLOW:
        return Change.SAME if set(rules_of(before)) == set(rules_of(after)) else Change.OTHER_RULES
    old, new = before.obligations, after.obligations
    if old.approvals != new.approvals:
        if old.approvals is None:
            return Change.APPROVALS_ADDED
        return Change.APPROVALS_REMOVED if new.approvals is None else Change.APPROVALS_CHANGED
    return Change.SAME if old == new else Change.OTHER_OBLIGATIONS


def lacking(needs: Needs, document: Mapping[str, Any], told: Needs | None) -> str:
    """What a policy wants to be told of the past and an input made for another policy does not hold; empty: nothing.

    `told` is what that other policy wanted (None: nobody knows any more): a budget of the same name may count something else.
    """
    if document.get("question") not in TOLD_OF_THE_PAST:
        return ""
    context = document.get("context") or {}
    for budget in _asked(needs, document):
        if budget.name not in (context.get("budgets") or {}):
            return f"the input holds no budget {budget.name!r}"
        if told is None:
            return f"nobody knows any more what the budget {budget.name!r} counted"
        if asdict(budget) not in map(asdict, told.budgets):
            return f"the input holds another budget {budget.name!r}"
    if needs.history_seconds is not None and not _reaches(context, needs.history_seconds):
        return f"the input holds no history of the last {needs.history_seconds} seconds"
    return ""


def _asked(needs: Needs, document: Mapping[str, Any]) -> list[Budget]:
    """The budgets that are asked about this target: none for a read, as gateway.operations.past tells them."""
    action, target = document.get("action") or {}, document.get("target")
    if target is None or action.get("effect") == "read":
        return []
    return [budget for budget in needs.budgets if budget.selects(target)]


def _reaches(context: Mapping[str, Any], seconds: int) -> bool:
    """Whether the history in an input goes back so far, to the second; one that was cut would have been cut there for everybody."""
    history = context.get("history") or {}
    since = history.get("since")
    if since is None or history.get("complete") is False:
        return since is not None
    back = datetime.fromisoformat(context["now"]) - datetime.fromisoformat(since)
    return back.total_seconds() >= seconds - 1
