"""What to make of where an operation stands: whether asking again helps, when, and the next call; pure. It must not promise what policy decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lockgate.contract.intent import Effect
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.openings import RULES, opens_at
from lockgate.gateway.operations.states import EffectShown, State

GET_OPERATION: Final = "lockgate_get_operation"
CANCEL_OPERATION: Final = "lockgate_cancel_operation"
APPLY_PLAN: Final = "lockgate_apply_plan"
EXPLAIN: Final = "lockgate_explain"

WAIT_SECONDS: Final = 30
_LOOK_AFTER: Final = {
    State.PENDING_APPROVAL: 15,
    State.INDETERMINATE: 30,
    State.QUEUED: 1,
    State.LEASED: 1,
    State.RUNNING: 2,
}

_PASS_WITH_TIME: Final = RULES | {"budget"}
_TIME_IS_AWAITED: Final = 60

_PASSING: Final = {
    "lockgate.engine.timeout": 5,
    "lockgate.engine.unavailable": 5,
    "lockgate.catalog_changed": 0,
    "lockgate.plan_missing": 0,
    "plan_digests": 0,
}
"""Rules that may say otherwise to the very same call, by the seconds to wait before it; every other denial stays until something changes."""

_RUNNER_LOST: Final = 60
"""Seconds before a call is worth repeating after no runner could bring it to an end."""

_NEW_KEY: Final = "a new operation needs a new idempotency_key, or none"


@dataclass(frozen=True, slots=True)
class Advice:
    """`helps`: whether the same call, made again after `after_seconds` (None: when what `how` says has been done), may end otherwise.

    `next` is the call to make now, as {tool, arguments, after_seconds}; None when nothing is left to do.
    """

    helps: bool
    after_seconds: int | None
    how: str
    next: dict[str, Any] | None

    def document(self) -> dict[str, Any]:
        """`retry` of every answer."""
        return {"helps": self.helps, "after_seconds": self.after_seconds, "how": self.how}


def advise(operation: Operation) -> Advice:
    """The advice on an operation as it stands. Every state has one."""
    state = operation.state
    if not operation.place.final:
        return Advice(False, None, _UNDER_WAY[state], look(operation))
    if state is State.DENIED:
        return _after_denial(operation)
    if state is State.FAILED:
        return _after_failure(operation)
    if state is State.PLANNED:
        return Advice(
            False, None, "Nothing was to be changed. Apply exactly this plan with the next call.", _apply(operation)
        )
    if state is State.SUCCEEDED:
        return Advice(False, None, "It is done; asking again would do it a second time.", None)
    return Advice(True, 0, f"Nothing was changed. Ask again if it is still wanted: {_NEW_KEY}.", same_call(operation))


def look(operation: Operation) -> dict[str, Any]:
    """The call that looks at it again and waits a while for it; with the moment before which nothing will have happened, where there is one."""
    arguments = {"operation_id": operation.id, "wait_seconds": WAIT_SECONDS}
    call = {"tool": GET_OPERATION, "arguments": arguments, "after_seconds": look_after(operation)}
    opens = opens_at(operation.waiting_for) if operation.state is State.QUEUED else None
    return call if opens is None else {**call, "opens_at": opens}


def look_after(operation: Operation) -> int:
    """Seconds after which looking again makes sense; longer where a person or an hour is waited for."""
    if operation.state is State.QUEUED and (operation.waiting_for or "").partition(":")[0] in _PASS_WITH_TIME:
        return _TIME_IS_AWAITED
    return _LOOK_AFTER.get(operation.state, 1)


def same_call(operation: Operation, *, after_seconds: int = 0, dry_run: bool | None = None) -> dict[str, Any]:
    """The call that asks for the same thing once more, as a new operation; of an applied plan, the call that plans anew."""
    intent = operation.intent
    arguments = {**intent.get("arguments", {}), "target": operation.target}
    if intent.get("reason"):
        arguments["reason"] = intent["reason"]
    if operation.effect is not Effect.READ and (operation.dry_run if dry_run is None else dry_run):
        arguments["dry_run"] = True
    return {"tool": operation.action, "arguments": arguments, "after_seconds": after_seconds}


def waiting(reason: str) -> str:
    """What a queued operation waits for (`waiting_for`), as a sentence; it goes on by itself in every case."""
    kind = reason.partition(":")[0].strip()
    opens = opens_at(reason)
    until = f" As policy is now, it may be changed from {opens} on." if opens else ""
    return _WAITS.get(kind, f"Waiting for {reason}.") + until + " It goes on by itself."


def _apply(operation: Operation) -> dict[str, Any] | None:
    if operation.plan is None:
        return None
    arguments = {"operation_id": operation.id, "semantic_sha256": operation.plan.semantic_sha256}
    return {"tool": APPLY_PLAN, "arguments": arguments, "after_seconds": 0}


def _after_denial(operation: Operation) -> Advice:
    rules = {reason.rule for reason in operation.reasons}
    if rules and rules <= _PASSING.keys():
        after = max(_PASSING[rule] for rule in rules)
        again = same_call(operation, after_seconds=after)
        return Advice(True, after, f"Nothing was changed. The same call may be answered otherwise: {_NEW_KEY}.", again)
    how = f"The same call is denied again until what `fix` says has been done; then {_NEW_KEY}."
    return Advice(False, None, how, {"tool": EXPLAIN, "arguments": {"operation_id": operation.id}, "after_seconds": 0})


def _after_failure(operation: Operation) -> Advice:
    if operation.effect_shown is not EffectShown.NONE:
        how = (
            "Part of it may have been changed. Do not repeat it blindly: a dry run shows what is still missing; "
            "then ask a person, or apply that plan."
        )
        return Advice(False, None, how, same_call(operation, dry_run=True))
    if operation.lease_retries:
        how = f"Nothing was changed; no runner could bring it to an end. {_NEW_KEY.capitalize()}."
        return Advice(True, _RUNNER_LOST, how, same_call(operation, after_seconds=_RUNNER_LOST))
    how = f"Nothing was changed. It helps once the cause that `message` names is gone; {_NEW_KEY}."
    return Advice(True, None, how, {"tool": EXPLAIN, "arguments": {"operation_id": operation.id}, "after_seconds": 0})


_UNDER_WAY: Final = {
    State.QUEUED: "It is under way; do not repeat the call, look at it again.",
    State.LEASED: "It is under way; do not repeat the call, look at it again.",
    State.RUNNING: "It is under way; do not repeat the call, look at it again.",
    State.PENDING_APPROVAL: "A person decides; repeating the call brings no approval nearer. Look at it again.",
    State.INDETERMINATE: "It may have been changed; a second call could change it twice. Look at it again.",
}

_WAITS: Final = {
    "freeze": "An administrator has frozen changes here.",
    "change_window": "This target is changed only inside its change windows, and none is open now.",
    "freeze_period": "Nothing is applied to this target for a period that policy names.",
    "budget": "As much as policy allows within a time has been changed; it is free again later.",
    "approvals": "A person must approve this plan.",
    "lock": "Another change holds this target.",
    "verify": "What an earlier change did to this target is not known yet, and is looked at first.",
    "capacity": "All runners' places of this tenant are taken.",
    "runner": "No runner that can do this is connected; an operator has to start one.",
    "policy": "Policy holds it back for now.",
}
