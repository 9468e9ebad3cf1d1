"""What an agent is advised to do, for every state an operation can be in."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from tests.unit.gateway.api.memorydoor import DENIAL, Offered, operation, plan, principal

from lockgate.contract.decision import ENGINE_RULES
from lockgate.contract.intent import Effect
from lockgate.gateway.api.tools import HELPERS
from lockgate.gateway.operations.advice import Advice, advise, waiting
from lockgate.gateway.operations.model import Reason
from lockgate.gateway.operations.states import FINAL, EffectShown, State

ASKED = {"text": "hello"}


def advice(state: State, **changes: Any) -> Advice:
    intent = {"action": "deploy", "arguments": ASKED, "reason": "because it is wanted"}
    shown = EffectShown.NONE if state in FINAL else None
    fields = {"effect_shown": shown, "plan": plan(), "intent": intent, **changes}
    return advise(operation(principal(), "deploy", {}, state, **fields))


def reason(rule: str) -> Reason:
    return Reason(rule, "Title", "Message.", "Fix.")


@pytest.mark.parametrize("state", list(State))
def test_every_state_says_whether_a_retry_helps_and_only_the_end_has_no_next_call(state: State) -> None:
    found = advice(state)
    assert found.how.endswith(".")
    assert (found.next is None) == (state is State.SUCCEEDED)


@pytest.mark.parametrize("state", [state for state in State if state not in FINAL])
def test_what_is_under_way_is_looked_at_and_never_repeated(state: State) -> None:
    found = advice(state)
    assert found.helps is False
    assert found.next is not None and found.next["tool"] == "lockgate_get_operation"


@pytest.mark.parametrize("state", list(State))
def test_the_next_call_is_one_its_tool_takes(state: State) -> None:
    following = advice(state).next
    if following is None:
        return
    arguments = {**following["arguments"]}
    if following["tool"] == "lockgate_apply_plan":
        arguments |= {"semantic_sha256": "sha256:" + "0" * 64, "reason": "as it was planned"}
    schema = HELPERS.get(following["tool"], {"inputSchema": Offered("deploy", Effect.CHANGE).tool_schema})[
        "inputSchema"
    ]
    jsonschema_rs.Draft202012Validator(schema).validate(arguments)


@pytest.mark.parametrize(
    ("waits", "after"),
    [("change_window:2027-01-18T08:00:00Z", 60), ("freeze_period", 60), ("budget", 60), ("lock:web-1", 1), (None, 1)],
)
def test_what_only_time_ends_is_looked_at_once_a_minute(waits: str | None, after: int) -> None:
    found = advice(State.QUEUED, waiting_for=waits).next
    assert found is not None and found["after_seconds"] == after


def test_a_denial_by_a_rule_is_not_worth_repeating_and_is_explained_next() -> None:
    found = advice(State.DENIED, reasons=(DENIAL,))
    assert (found.helps, found.after_seconds) == (False, None)
    assert found.next is not None and found.next["tool"] == "lockgate_explain"


@pytest.mark.parametrize("rule", ["lockgate.engine.timeout", "lockgate.engine.unavailable", "lockgate.catalog_changed"])
def test_a_denial_that_may_pass_names_the_same_call_and_when(rule: str) -> None:
    found = advice(State.DENIED, reasons=(reason(rule),))
    assert found.helps is True and found.after_seconds is not None
    assert found.next == {
        "tool": "deploy",
        "arguments": {**ASKED, "target": "web-1", "reason": "because it is wanted"},
        "after_seconds": found.after_seconds,
    }


def test_one_lasting_rule_among_passing_ones_makes_the_denial_last() -> None:
    assert advice(State.DENIED, reasons=(reason("lockgate.engine.timeout"), DENIAL)).helps is False
    assert advice(State.DENIED, reasons=()).helps is False, "a denial that names no rule is not called passing"


def test_only_rules_of_the_engine_itself_and_of_the_gateway_are_called_passing() -> None:
    passing = {rule for rule in ENGINE_RULES if advice(State.DENIED, reasons=(reason(rule),)).helps}
    assert passing == {"lockgate.engine.timeout", "lockgate.engine.unavailable"}


@pytest.mark.parametrize("shown", [EffectShown.PARTIAL, EffectShown.UNKNOWN])
def test_after_a_partial_failure_the_next_call_is_a_dry_run(shown: EffectShown) -> None:
    found = advice(State.FAILED, effect_shown=shown)
    assert found.helps is False
    assert found.next is not None and found.next["arguments"]["dry_run"] is True


def test_a_failure_without_effect_may_be_repeated_once_its_cause_is_gone() -> None:
    assert (advice(State.FAILED).helps, advice(State.FAILED).after_seconds) == (True, None)
    lost = advice(State.FAILED, lease_retries=3)
    assert (lost.helps, lost.after_seconds) == (True, 60)


def test_a_read_is_repeated_without_arguments_that_reads_do_not_take() -> None:
    intent = {"action": "status", "arguments": {}, "reason": ""}
    found = advice(State.EXPIRED, effect=Effect.READ, intent=intent, plan=None)
    assert found.next is not None and set(found.next["arguments"]) == {"target"}


@pytest.mark.parametrize(
    "waits", ["freeze", "change_window", "lock:web-1 (held)", "capacity: 50 operations", "runner: none", "own_rule"]
)
def test_what_is_waited_for_is_a_sentence_that_says_it_goes_on_by_itself(waits: str) -> None:
    assert waiting(waits).endswith("It goes on by itself.")
    assert "web-1" not in waiting("lock:web-1 (held)"), "an agent is not told which lock"
