"""What a report, a difference or a teardown means for an operation: pure judgement over signed statements; it must not soften *unknown*."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from lockgate.contract.decision import Question
from lockgate.contract.evidence import Manifest, StageOutcome
from lockgate.contract.intent import Phase, Stage
from lockgate.contract.plan import Fidelity
from lockgate.contract.runnerapi import Report, StartRequest
from lockgate.contract.shown import quoted
from lockgate.gateway.core import Core
from lockgate.gateway.doors import RunnerPeer
from lockgate.gateway.errors import BadInput
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.changes import moved
from lockgate.gateway.operations.judging import CATALOG_CHANGED, REVOKED, Judgement, obligations_of, parts
from lockgate.gateway.operations.manifests import Reported, open_stage
from lockgate.gateway.operations.model import Attempt, Operation, Reason
from lockgate.gateway.operations.questions import Subject, Where, ask, plan_document
from lockgate.gateway.operations.spending import spends
from lockgate.gateway.operations.states import Event, Place, State

MAX_OUTPUT = 64 << 10
MAX_SAID = 900
"""Characters of a tool's words within ours; two of them and ours fit a message."""
LOST = "incomplete"
"""How an apply ends of which nothing that is planned afterwards can tell what it did (see StageOutcome)."""
_STAGES = {Phase.READ: (Stage.READ,), Phase.PLAN: (Stage.PLAN,), Phase.VERIFY: (Stage.VERIFY,)}


def speaks_for(attempt: Attempt, operation: Operation) -> bool:
    """True when the attempt is the operation's latest: an older fence may say nothing any more."""
    return attempt.fence == operation.fence


def leased_place(attempt: Attempt) -> Place:
    """Where an operation is while an attempt holds it and has not started: a look leaves an indeterminate one where it is."""
    return Place(State.INDETERMINATE) if attempt.phase is Phase.VERIFY else Place(State.LEASED, attempt.phase)


def live_places(attempt: Attempt) -> tuple[Place, Place]:
    """Where an operation is as long as an attempt of it may go on."""
    before = leased_place(attempt)
    return before, before if attempt.phase is Phase.VERIFY else Place(State.RUNNING, attempt.phase)


def stale(core: Core, attempt: Attempt, operation: Operation, not_after: int) -> str | None:
    """Why an attempt may not start: overtaken, or its lease or grant has run out; None when it may. Times are the gateway's own."""
    if not speaks_for(attempt, operation) or operation.place != leased_place(attempt):
        return f"the operation is {operation.state.value} and no longer leased to this attempt"
    now = core.clock()
    if now >= attempt.lease_until:
        return "the lease has run out"
    if now >= not_after:
        return "the grant has expired"
    return None


def inputs_differ(operation: Operation, request: StartRequest, phase: Phase) -> bool:
    """At apply: what the runner sealed now is not what was planned and approved (invariant 3)."""
    return phase is Phase.APPLY and (operation.plan is None or request.inputs_sha256 != operation.plan.inputs_sha256)


def check_differs(operation: Operation, check: Reported) -> bool:
    """At apply: the plan made again right now is not the approved one, byte for byte of its canonical form (invariant 3)."""
    record = check.plan_record(0)
    return operation.plan is None or (record.semantic_sha256, record.inputs_sha256) != (
        operation.plan.semantic_sha256,
        operation.plan.inputs_sha256,
    )


async def judge_plan(core: Core, planned: Operation, reported: Reported, where: Where | None) -> Judgement:
    """Ask `plan` about a plan that has just been received and is not stored yet."""
    found = parts(core, planned)
    if found is None:
        return Judgement(Event.DENIED, (CATALOG_CHANGED,))
    if core.revoked(planned.principal, planned.created_at):
        return Judgement(Event.DENIED, (REVOKED,))
    if reported.plan is None or planned.plan is None:
        raise BadInput("A successful plan stage must bring its plan.", field="plan")
    about = Subject(
        principal=planned.principal,
        action=found[0],
        target=found[1],
        arguments=planned.intent["arguments"],
        reason=planned.intent["reason"],
        plan=plan_document(planned.plan, reported.plan),
        operation=planned.id,
        spends=spends(planned),
        where=where,
    )
    asked = await ask(core, Question.PLAN, about)
    denied = not asked.decision.allow and not asked.decision.waitable
    return Judgement(Event.DENIED if denied else None, asked.reasons, asked, *found)


class Move(Protocol):
    """How an operation comes to the place an event leads to: `changes.moved` by the state table, or the entry of a known plan."""

    def __call__(
        self,
        operation: Operation,
        event: Event,
        now: int,
        *,
        message: str = ...,
        reasons: tuple[Reason, ...] = ...,
        **changes: Any,
    ) -> Operation: ...


def after_plan(core: Core, planned: Operation, verdict: Judgement, move: Move = moved) -> Operation:
    """The operation after its plan was decided on: empty, denied, dry run, approvals needed, or allowed."""
    now = core.clock()
    if verdict.event is Event.DENIED or verdict.asked is None:
        return move(planned, Event.DENIED, now, reasons=verdict.reasons, message=first_message(verdict))
    decision = verdict.asked.decision
    merged = obligations_of(planned).merge(decision.obligations)
    fields: dict[str, Any] = {"decision": decision.id, "obligations": merged.to_document()}
    if is_empty(planned):
        said = "Nothing to change: the target is already as asked."
        return move(planned, Event.PLAN_EMPTY, now, message=said, **fields)
    if planned.dry_run:
        return move(planned, Event.PLAN_DRY_RUN, now, message="Planned; nothing is applied in a dry run.", **fields)
    if merged.approvals is not None:
        fields["approval_expires_at"] = approval_expiry(core, planned)
        said = "Waiting for human approval of this plan."
        return move(planned, Event.PLAN_NEEDS_APPROVAL, now, message=said, **fields)
    return move(planned, Event.PLAN_ALLOWED, now, **fields)


def is_empty(operation: Operation) -> bool:
    """True only for a complete plan without a change: what a tool could not predict is not nothing."""
    plan = operation.plan
    return plan is not None and not plan.incomplete and not (plan.create or plan.update or plan.delete or plan.replace)


def approval_expiry(core: Core, operation: Operation) -> int:
    """When a pending operation stops waiting for votes (Unix ms)."""
    return min(operation.deadline, core.clock() + core.timing.approval_expiry * 1000)


def may_report(attempt: Attempt, operation: Operation) -> bool:
    """Whether a report of this attempt still counts; also a late one of the same fence for an indeterminate operation."""
    if not speaks_for(attempt, operation):
        return False
    if attempt.started_at is None and attempt.phase is not Phase.APPLY:
        return False  # without a start nothing may have run; only an apply has a stage (check) before it
    if operation.state is State.INDETERMINATE:
        return attempt.phase in (Phase.APPLY, Phase.VERIFY)
    return operation.state in (State.LEASED, State.RUNNING) and operation.phase is attempt.phase


def open_stages(
    core: Core, peer: RunnerPeer, attempt: Attempt, operation: Operation, report: Report
) -> tuple[Reported, ...]:
    """Verify every reported stage in its due order. Raises BadInput."""
    if attempt.phase is Phase.APPLY:
        started = attempt.started_at is not None
        due: tuple[Stage, ...] = (Stage.APPLY, Stage.VERIFY)[: len(report.stages)] if started else (Stage.CHECK,)
    else:
        due = _STAGES[attempt.phase]
    if not report.stages or len(report.stages) != len(due):
        raise BadInput(f"must be {' and '.join(stage.value for stage in due)}", field="stages")
    return tuple(
        open_stage(core, peer, attempt, operation, stage, expected)
        for stage, expected in zip(report.stages, due, strict=True)
    )


def conclude(
    core: Core, attempt: Attempt, operation: Operation, stages: tuple[Reported, ...], check: Manifest | None
) -> Operation:
    """The operation after a report that is no successful plan; `check` is what was shown right before the start of an apply."""
    now = core.clock()
    first = stages[0].manifest.outcome
    if attempt.phase is Phase.APPLY and attempt.started_at is not None:
        return after_apply(operation, stages, check, now)
    if first.status != "ok" or attempt.phase is Phase.APPLY:
        message = f"The {stages[0].manifest.stage.value} stage ended as {first.status}{said(first)}"
        return moved(operation, Event.TOOL_FAILED, now, message=message[:2000])
    output = stages[0].output or ""
    return moved(operation, Event.FINISHED, now, output=output[:MAX_OUTPUT], message="Read.")


def said(outcome: StageOutcome) -> str:
    """A stage's own words, in quotes that they cannot end: nothing a tool prints passes for what Lockgate says."""
    return f": {quoted(outcome.detail, limit=MAX_SAID)}" if outcome.detail else ""


def after_apply(operation: Operation, stages: tuple[Reported, ...], check: Manifest | None, now: int) -> Operation:
    """What *verify* showed: nothing left to change, something, exactly what was planned before, or nothing that could be known.

    Of exact fidelity a tool sees only what its state knows: success moves it on, and where nothing was done it stands still (TRUST §5).
    """
    tool = stages[0].manifest.outcome
    began = f"The tool ended as {tool.status}" + (said(tool) if tool.status != "ok" else "") + "; "
    verify = stages[1] if len(stages) > 1 else None
    if stages[0].manifest.never_began and not (verify and verify.plan and verify.plan.summary.empty):
        return moved(operation, Event.NOT_BEGUN, now, message=f"No apply was begun{said(tool)}"[:2000])
    if verify is None:
        return _unknown(operation, began + "verify could not tell what holds now: it was not reached", now)
    shown, found = verify.manifest, verify.plan
    exact = shown.fidelity is Fidelity.EXACT
    tells = shown.outcome.status == "ok" and tool.status != LOST and (check is not None or not exact)
    if found is None or found.incomplete or not tells:
        return _unknown(operation, f"{began}verify could not tell what holds now{said(shown.outcome)}", now)
    still = check is None or check.state_before == shown.state_before
    if found.summary.empty and exact and still:
        return _unknown(
            operation, began + "verify found nothing left to change, in a state that nothing was written to", now
        )
    if found.summary.empty:
        return moved(operation, Event.VERIFIED_EMPTY, now, message=began + "verify found nothing left to change.")
    record, plan = verify.plan_record(now), operation.plan
    # Only a complete plan can show that *nothing* changed; an incomplete one may look the same afterwards.
    if still and plan is not None and not plan.incomplete and record.semantic_sha256 == plan.semantic_sha256:
        return moved(
            operation, Event.VERIFIED_UNCHANGED, now, message=(began + "verify shows the target unchanged.")[:2000]
        )
    left = f"verify found {record.create + record.update + record.delete + record.replace} change(s) still to make."
    return moved(operation, Event.VERIFIED_PARTIAL, now, message=(began + left)[:2000])


def _unknown(operation: Operation, message: str, now: int) -> Operation:
    if operation.state is State.INDETERMINATE:
        return replace(operation, version=operation.version + 1, updated_at=now, message=message[:2000])
    return moved(operation, Event.UNKNOWN, now, message=message[:2000])


def after_teardown(core: Core, attempt: Attempt, operation: Operation) -> Operation:
    """A receipt without a report: the runner has given up; what it had started is unknown, what it had not goes back to the queue."""
    if attempt.state in (AttemptState.REPORTED, AttemptState.UNPROVEN) or not speaks_for(attempt, operation):
        return operation
    return lost(core, attempt, operation, "The runner tore down without a report.")


def lost(core: Core, attempt: Attempt, operation: Operation, why: str) -> Operation:
    """The operation after its lease ended without a report: a started apply is indeterminate, never failed, never retried (invariant 7)."""
    now = core.clock()
    if operation.place == Place(State.RUNNING, Phase.APPLY):
        return moved(
            operation,
            Event.UNKNOWN,
            now,
            message=why + " What it changed is not known; a human must look and resolve it.",
        )
    if operation.place in (Place(State.LEASED, attempt.phase), Place(State.RUNNING, attempt.phase)):
        return moved(operation, Event.LEASE_LOST, now, message=why)
    return operation


def plan_facts(planned: Operation) -> dict[str, object]:
    """What the log says of a plan."""
    plan = planned.plan
    if plan is None:
        return {}
    return {
        "file_sha256": plan.file_sha256,
        "inputs_sha256": plan.inputs_sha256,
        "semantic_sha256": plan.semantic_sha256,
        "summary": {"create": plan.create, "update": plan.update, "delete": plan.delete, "replace": plan.replace},
        "fidelity": plan.fidelity,
        "incomplete": len(plan.incomplete),
    }


def first_message(verdict: Judgement) -> str:
    """The first reason's message, for the operation's own line."""
    return verdict.reasons[0].message if verdict.reasons else ""
