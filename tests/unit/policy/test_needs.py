"""What policy data says of the past: budgets and history, their bounds, and the form in which policy sees them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lockgate.contract.decision import Question
from lockgate.policy.bundle import load_library
from lockgate.policy.input import validate_input
from lockgate.policy.needs import NOTHING, Counts, Needs, Per, read_needs
from lockgate.policy.parameters import read_parameters
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.schemas import DocumentRefused
from lockgate.testing.policy_engine import AGENT, NOON, example_input

PLAIN = """version: 1
roles:
  dev: {}
bindings: []
regions: {}
approvals:
  approvers: [dev]
  standard: {count: 1, groups: [dev], expires_in_seconds: 60}
"""
BUDGETS = """budgets:
  - name: hourly
    targets: {environments: [prod], labels: {team: [web]}}
    per: owner
    counts: weight
    window_seconds: 3600
    limit: 20
    effect: deny
  - name: daily
    per: tenant
    counts: operations
    window_seconds: 86400
    limit: 0
    effect: approve
"""
PAST = {
    "operation": "op_1",
    "action": "deploy",
    "effect": "destroy",
    "target": "web",
    "environment": None,
    "state": "denied",
    "rules": ["role"],
    "at": NOON,
}
WEB = {"name": "web", "environment": "prod", "region": "eu", "labels": {"team": "web"}}


def needs(text: str) -> Needs:
    return read_needs(read_parameters(PLAIN + text, "data.yaml"))


def test_data_that_asks_for_nothing_needs_nothing() -> None:
    assert needs("") == NOTHING


def test_budgets_come_out_as_they_were_written() -> None:
    hourly, daily = needs(BUDGETS).budgets
    assert (hourly.per, hourly.counts, hourly.window_seconds, hourly.limit) == (Per.OWNER, Counts.WEIGHT, 3600, 20)
    assert (daily.name, daily.per, daily.limit) == ("daily", Per.TENANT, 0)


@pytest.mark.parametrize(
    ("target", "hourly"),
    [
        (WEB, True),
        ({**WEB, "environment": "staging"}, False),
        ({**WEB, "labels": {}}, False),
        ({**WEB, "labels": {"team": "db"}}, False),
    ],
)
def test_a_budget_without_a_selector_is_for_every_target(target: Mapping[str, Any], hourly: bool) -> None:
    assert [budget.selects(target) for budget in needs(BUDGETS).budgets] == [hourly, True]


def test_history_is_told_where_it_is_asked_for() -> None:
    assert needs("history: {window_seconds: 60}\n").history_seconds == 60
    assert needs("history: {}\n").history_seconds == 86_400
    assert needs("").history_seconds is None


def test_history_goes_back_as_far_as_a_listed_rule_looks() -> None:
    rule = "rules:\n  sequence:\n    - {effect: deny, after: {outcomes: [denied]}, forbid: {effects: [destroy]}, within_seconds: %d}\n"
    assert needs(rule % 600).history_seconds == 86_400
    assert needs(rule % 172_800).history_seconds == 172_860
    assert needs("history: {window_seconds: 5}\n" + rule % 600).history_seconds == 660
    assert needs("history: {window_seconds: 5}\nrules: {heal_limits: [{effect: deny}]}\n").history_seconds == 3660


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("name: hourly", "name: daily", 17, "budgets[1].name"),
        ("per: owner", "per: team", 12, "budgets[0].per"),
        ("counts: weight", "counts: money", 13, "budgets[0].counts"),
        ("window_seconds: 3600", "window_seconds: 0", 14, "budgets[0].window_seconds"),
        ("window_seconds: 3600", "window_seconds: 2678401", 14, "budgets[0].window_seconds"),
        ("limit: 20", "limit: -1", 15, "budgets[0].limit"),
        ("limit: 20", "limit: 99999999999999", 15, "budgets[0].limit"),
        ("limit: 20", "limit: 1.5", 15, "budgets[0].limit"),
        ("    effect: deny", "    effect: allow", 16, "budgets[0].effect"),
        ("    limit: 20\n", "", 10, "budgets[0]"),
        ("per: owner", "per: owner\n    weights: {}", 13, "budgets[0].weights"),
        ("budgets:", "history: {window_seconds: never}\nbudgets:", 9, "history.window_seconds"),
    ],
)
def test_a_budget_that_means_nothing_is_refused_with_its_line(old: str, new: str, line: int, field: str) -> None:
    text = PLAIN + BUDGETS
    assert old in text
    with pytest.raises(PolicyLoadError) as refused:
        read_parameters(text.replace(old, new, 1), "data.yaml")
    assert (refused.value.field, refused.value.line) == (field, line), refused.value


def test_more_budgets_than_can_be_told_are_refused() -> None:
    one = "  - {name: b%d, per: tenant, counts: changes, window_seconds: 1, limit: 1, effect: deny}\n"
    with pytest.raises(PolicyLoadError, match="budgets"):
        read_parameters(PLAIN + "budgets:\n" + "".join(one % index for index in range(33)), "data.yaml")


def test_compiled_data_with_budgets_of_another_form_is_no_policy() -> None:
    bundle = replace(load_library(), data=b'{"lockgate": {"parameters": {"budgets": [{"name": "x"}]}}}')
    with pytest.raises(PolicyLoadError, match="budgets or history"):
        _ = bundle.needs


@pytest.mark.parametrize(
    ("context", "field"),
    [
        ({"history": {"since": NOON, "complete": True, "operations": [PAST] * 64}}, None),
        ({"history": {"since": NOON, "complete": True, "operations": [PAST] * 65}}, "context.history.operations"),
        ({"history": {"since": NOON, "operations": []}}, "context.history"),
        (
            {"history": {"since": NOON, "complete": True, "operations": [{**PAST, "state": "gone"}]}},
            "context.history.operations[0].state",
        ),
        (
            {"history": {"since": NOON, "complete": True, "operations": [{**PAST, "who": "me"}]}},
            "context.history.operations[0]",
        ),
        ({"budgets": {"b": {"window_seconds": 1, "limit": 0, "used": 10**12, "asked": 10**9}}}, None),
        (
            {"budgets": {"b": {"window_seconds": 1, "limit": 0, "used": 10**12 + 1, "asked": 0}}},
            "context.budgets.b.used",
        ),
        ({"budgets": {"b": {"window_seconds": 1, "limit": 0, "used": 0, "asked": -1}}}, "context.budgets.b.asked"),
        ({"budgets": {"b": {"window_seconds": 1, "limit": 0, "used": 0}}}, "context.budgets.b"),
    ],
)
def test_the_past_in_an_input_is_bounded(context: Mapping[str, Any], field: str | None) -> None:
    now = {"now": NOON, "freeze": False, "requester": AGENT}
    document = example_input(Question.REQUEST, context={**now, **context})
    if field is None:
        validate_input(document)
        return
    with pytest.raises(DocumentRefused) as refused:
        validate_input(document)
    assert refused.value.field == field
