"""What changes from one policy's answer to another's, and what cannot be told."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.contract.decision import ApprovalObligation, Decision, Obligations, Provenance, Question, Violation
from lockgate.policy.comparison import Change, compare, lacking
from lockgate.policy.needs import NOTHING, Budget, Counts, Needs, Per

ONE, TWO = (Obligations(approvals=ApprovalObligation(count, {}, 60)) for count in (1, 2))
NONE = Obligations()


def decided(*rules: str, obligations: Obligations = NONE, waits: bool = False, input: str = "sha256:1") -> Decision:
    violations = [Violation(rule, rule, "message", "fix", {"waitable": True} if waits else {}) for rule in rules]
    return Decision.of(Question.REQUEST, violations, obligations, Provenance("dec_1", "sha256:r", "e", input))


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (decided(), decided(), Change.SAME),
        (decided(), decided("role"), Change.WOULD_DENY),
        (decided("window", waits=True), decided("window"), Change.WOULD_DENY),
        (decided("role"), decided(), Change.WOULD_ALLOW),
        (decided("window", waits=True), decided(), Change.WOULD_ALLOW),
        (decided(), decided("window", waits=True), Change.WOULD_WAIT),
        (decided("role"), decided("window", waits=True), Change.WOULD_WAIT),
        (decided("role"), decided("role"), Change.SAME),
        (decided("role"), decided("role", "region"), Change.OTHER_RULES),
        (decided("role"), decided("lockgate.engine.no_allow"), Change.OTHER_RULES),
        (decided(), decided(obligations=ONE), Change.APPROVALS_ADDED),
        (decided(obligations=ONE), decided(), Change.APPROVALS_REMOVED),
        (decided(obligations=ONE), decided(obligations=TWO), Change.APPROVALS_CHANGED),
        (decided(obligations=ONE), decided(obligations=ONE), Change.SAME),
        (decided(), decided(obligations=Obligations(max_seconds=5)), Change.OTHER_OBLIGATIONS),
        (decided(obligations=ONE), decided("role"), Change.WOULD_DENY),
        (decided(), decided("lockgate.engine.timeout"), Change.UNKNOWN),
        (decided("lockgate.engine.input"), decided(), Change.UNKNOWN),
        (decided(), decided("role", input="sha256:2"), Change.UNKNOWN),
    ],
)
def test_every_pair_of_answers_has_its_change(before: Decision, after: Decision, change: Change) -> None:
    compared = compare(before, after)
    assert compared.change is change
    assert bool(compared.why) == (change is Change.UNKNOWN)


def test_only_rules_that_speak_in_one_of_the_two_are_named() -> None:
    assert compare(decided("a", "b"), decided("b", "c")).rules == ("a", "c")


BUDGET = Budget("hourly", None, Per.PRINCIPAL, Counts.CHANGES, 3600, 10)


def asked(question: str = "request", **context: Any) -> dict[str, Any]:
    now = {"now": "2026-11-27T12:00:00Z"}
    return {
        "question": question,
        "target": {"name": "web", "environment": "dev", "labels": {}},
        "context": now | context,
    }


OTHERWISE = Budget("hourly", None, Per.TENANT, Counts.CHANGES, 3600, 10)
LIKE = Needs((BUDGET,))
READ = {"effect": "read"}
FULL = {"hourly": {"window_seconds": 3600, "limit": 10, "used": 0, "asked": 1}}


@pytest.mark.parametrize(
    ("needs", "document", "told", "missing"),
    [
        (NOTHING, asked(), NOTHING, ""),
        (LIKE, asked(), LIKE, "no budget 'hourly'"),
        (LIKE, asked("view"), LIKE, ""),
        (LIKE, asked() | {"action": READ}, LIKE, ""),
        (LIKE, asked(budgets=FULL), LIKE, ""),
        (LIKE, asked(budgets=FULL), Needs((OTHERWISE,)), "another budget"),
        (LIKE, asked(budgets=FULL), None, "nobody knows any more"),
        (NOTHING, asked(budgets=FULL), None, ""),
        (Needs((), 3600), asked(), NOTHING, "no history"),
        (Needs((), 3600), asked(history={"since": "2026-11-27T11:00:00Z", "complete": True}), NOTHING, ""),
        (Needs((), 3600), asked(history={"since": "2026-11-27T11:30:00Z", "complete": True}), NOTHING, "no history"),
        (Needs((), 3600), asked(history={"since": "2026-11-27T11:30:00Z", "complete": False}), NOTHING, ""),
    ],
)
def test_what_an_input_does_not_tell_of_the_past_is_named(
    needs: Needs, document: dict[str, Any], told: Needs | None, missing: str
) -> None:
    found = lacking(needs, document, told)
    assert missing in found and bool(found) == bool(missing)
