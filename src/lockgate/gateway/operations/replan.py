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
from lockgate.gateway.operations.judging import judge
from lockgate.gateway.operations.model import DecisionRecord, Operation, Reason
from lockgate.gateway.operations.outcomes import after_plan
from lockgate.gateway.operations.states import PLAN_ENTRY, Event
from lockgate.gateway.operations.transitions import acts, claimed, decisions, records
from lockgate.gateway.store.port import Admit, Claim, Done, Existing


async def admit_plan(core: Core, arrived: Arrived, planned: Operation, since: int) -> Operation | None:
    """Decide `request` and `plan` anew and record the new operation. None: the epoch or a budget moved. Raises Clash, Unavailable.

    `since` (Unix ms) is when the caller was last known to be good.
    """
    epoch = core.standing.epoch
    identify(core, arrived.principal, since)
    asked = await decide(core, arrived)
    operation = new_operation(core, arrived, asked)
    entries = admission_entries(operation, asked)
    further: tuple[DecisionRecord, ...] = ()
    claims: tuple[Claim, ...] = ()
    spending = False
    if not operation.place.final:
        operation = replace(operation, plan=planned.plan)
        verdict = await judge(core, operation, question=Question.PLAN)
        operation = after_plan(core, operation, verdict, entered)
        entries = (*admission_entries(operation, asked), *decisions(operation, verdict))
        further = records(verdict, operation.id)
        claims, spending = claimed(operation, verdict), asked.decision.allow and acts(verdict)
    command = Admit(
        operation=operation,
        idempotency_scope=idempotency_scope(arrived),
        decision=replace(asked.record, operation=operation.id),
        further_decisions=further,
        entries=(*entries, *end_entry(operation)),
        epoch=epoch,
        now=operation.created_at,
        claims=claims,
        spends=spending and not operation.place.final,
    )
    outcome = await core.commit(command)
    if await core.overtaken(outcome):
        return None
    if isinstance(outcome, Existing):
        return same_intent(arrived, outcome.operation)
    if not isinstance(outcome, Done):
        raise Unavailable("The operation could not be recorded.", retry_after=1.0)
    return operation


def entered(
    operation: Operation, event: Event, now: int, *, message: str = "", reasons: tuple[Reason, ...] = (), **changes: Any
) -> Operation:
    """The first place of an operation whose plan is known. Raises KeyError for an event that is no entry."""
    step = PLAN_ENTRY[event]
    return replace(
        operation,
        state=step.to.state,
        phase=step.to.phase,
        updated_at=now,
        effect_shown=step.effect,
        **{"waiting_for": None, "message": message, "reasons": reasons, **changes},
    )
