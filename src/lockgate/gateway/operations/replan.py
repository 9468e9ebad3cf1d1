"""`lockgate_apply_plan`: a new operation from a planned one, entering at step 8; it must not carry a vote or a decision over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lockgate.contract.decision import Question
from lockgate.gateway.admission import (
    Arrived,
    admission_entries,
    decide,
    idempotency_scope,
    identify,
    new_operation,
    same_intent,
)
from lockgate.gateway.core import Core
from lockgate.gateway.errors import Unavailable
from lockgate.gateway.operations.changes import end_entry
from lockgate.gateway.operations.judging import Judgement, judge, obligations_of
from lockgate.gateway.operations.model import DecisionRecord, Operation
from lockgate.gateway.operations.outcomes import approval_expiry, first_message, is_empty
from lockgate.gateway.operations.states import PLAN_ENTRY, Event
from lockgate.gateway.operations.transitions import decisions, records
from lockgate.gateway.store.port import Admit, Done, EpochMoved, Existing


async def admit_plan(core: Core, arrived: Arrived, planned: Operation, since: int) -> Operation | None:
    """Decide `request` and `plan` anew and record the new operation. None: the epoch moved. Raises Clash, Unavailable.

    `since` (Unix ms) is when the caller was last known to be good.
    """
    epoch = core.standing.epoch
    identify(core, arrived.principal, since)
    asked = await decide(core, arrived)
    operation = new_operation(core, arrived, asked)
    entries = admission_entries(operation, asked)
    further: tuple[DecisionRecord, ...] = ()
    if not operation.place.final:
        operation = replace(operation, plan=planned.plan)
        verdict = await judge(core, operation, question=Question.PLAN)
        operation = entered(core, operation, verdict)
        entries = (*admission_entries(operation, asked), *decisions(operation, verdict))
        further = records(verdict, operation.id)
    command = Admit(
        operation=operation,
        idempotency_scope=idempotency_scope(arrived),
        decision=replace(asked.record, operation=operation.id),
        further_decisions=further,
        entries=(*entries, *end_entry(operation)),
        epoch=epoch,
        now=operation.created_at,
    )
    outcome = await core.commit(command)
    if isinstance(outcome, EpochMoved):
        await core.refresh()
        return None
    if isinstance(outcome, Existing):
        return same_intent(arrived, outcome.operation)
    if not isinstance(outcome, Done):
        raise Unavailable("The operation could not be recorded.", retry_after=1.0)
    return operation


def entered(core: Core, operation: Operation, verdict: Judgement) -> Operation:
    """The place a known plan leads to: denied, empty, approvals needed, or allowed."""
    if verdict.event is Event.DENIED or verdict.asked is None:
        return _at(operation, Event.DENIED, reasons=verdict.reasons, message=first_message(verdict))
    merged = obligations_of(operation).merge(verdict.asked.decision.obligations)
    fields: dict[str, Any] = {"obligations": merged.to_document(), "decision": verdict.asked.decision.id}
    if is_empty(operation):
        return _at(operation, Event.PLAN_EMPTY, message="Nothing to change: the target is already as asked.", **fields)
    if merged.approvals is not None:
        fields["approval_expires_at"] = approval_expiry(core, operation)
        return _at(operation, Event.PLAN_NEEDS_APPROVAL, message="Waiting for human approval of this plan.", **fields)
    return _at(operation, Event.PLAN_ALLOWED, **fields)


def _at(operation: Operation, event: Event, **fields: Any) -> Operation:
    step = PLAN_ENTRY[event]
    return replace(
        operation, state=step.to.state, phase=step.to.phase, effect_shown=step.effect, waiting_for=None, **fields
    )
