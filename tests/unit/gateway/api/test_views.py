"""What is said about an operation, state by state."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema_rs
import pytest
from tests.unit.gateway.api.memorydoor import DENIAL, HIDDEN, operation, principal

from lockgate.contract.intent import Effect
from lockgate.gateway.api.tools import OUTPUT_SCHEMA
from lockgate.gateway.operations.states import FINAL, State
from lockgate.gateway.operations.views import MAX_OUTPUT, agent_view, human_view, is_error, summary_line

ANSWER = jsonschema_rs.Draft202012Validator(OUTPUT_SCHEMA)


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_words_a_valid_view_and_a_next_call_unless_it_is_the_end(state: State) -> None:
    made = operation(principal(), "deploy", {"target": "web-1"}, state)
    view = agent_view(made)
    ANSWER.validate(view)
    assert view["message"] and made.id in summary_line(made) and state.value in summary_line(made)
    assert human_view(made)["final"] == (state in FINAL)


def test_only_denied_failed_and_expired_are_errors() -> None:
    errors = {state for state in State if is_error(operation(principal(), "deploy", {}, state))}
    assert errors == {State.DENIED, State.FAILED, State.EXPIRED}


def test_an_agent_is_told_rule_fix_and_decision_but_no_threshold() -> None:
    made = operation(principal(), "deploy", {}, State.DENIED, reasons=(DENIAL,))
    view = agent_view(made)
    assert view["rules"] == [{"rule": DENIAL.rule, "title": DENIAL.title, "message": DENIAL.message, "fix": DENIAL.fix}]
    assert view["fix"] == DENIAL.fix and view["decision_id"] == "dec_1"
    assert HIDDEN not in json.dumps(view) + summary_line(made)
    assert HIDDEN in json.dumps(human_view(made))


def test_output_is_shown_for_reads_only_bounded_and_marked() -> None:
    made = operation(principal(), "status", {}, State.SUCCEEDED, effect=Effect.READ, output="é" * (MAX_OUTPUT + 1))
    assert agent_view(made)["output"] == {"untrusted": True, "text": "é" * MAX_OUTPUT, "truncated": True}
    assert len(summary_line(made)) < MAX_OUTPUT + 1000 and "untrusted" in summary_line(made)
    changed = replace(made, effect=Effect.CHANGE)
    assert agent_view(changed)["output"] is None and "é" not in summary_line(changed)
