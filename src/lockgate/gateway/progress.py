"""Steps 5 to 14 of an operation as far as the gateway takes them; it must not run a tool, nor believe a runner beyond its signature.

Each step is one named function, each transition one transaction (compare-and-set, audit entries and epoch in it). What a step needs to know it asks of
`judging` (policy, revocation, catalog), `manifests` (what runners signed) and `granting` (what runners get).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from lockgate.contract.intent import Phase, Stage
from lockgate.contract.runnerapi import (
    LeaseOffer,
    LeaseRequest,
    ReceiptNote,
    Report,
    StageReport,
    StartAnswer,
    StartRequest,
)
from lockgate.contract.steps import step
from lockgate.gateway import looking
from lockgate.gateway.admission import EPOCH_RACES
from lockgate.gateway.audit.entries import EntryKind
from lockgate.gateway.core import Core
from lockgate.gateway.doors import RunnerPeer
from lockgate.gateway.errors import BadInput, Clash, Unavailable
from lockgate.gateway.operations import attempts, outcomes, transitions
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.changes import end_entry, entry, moved
from lockgate.gateway.operations.judging import Judgement, judge, question_of
from lockgate.gateway.operations.locks import LockEvent, LockState
from lockgate.gateway.operations.manifests import Reported, left_out, open_receipt, open_stage
from lockgate.gateway.operations.model import Attempt, Operation
from lockgate.gateway.operations.questions import Where
from lockgate.gateway.operations.states import Event
from lockgate.gateway.store.port import (
    AttemptChange,
    Done,
    GetLock,
    TenantLoad,
    Transition,
)

MAX_NAMED = 20
"""How many of what a receipt leaves out an alarm names."""


@step(5)
async def queue(core: Core, operation: Operation) -> str | None:
    """What a queued operation waits for before policy is asked again: the tenant's share of runners, a lock; None when nothing."""
    _, running = await core.store.read(TenantLoad(operation.tenant, at_most=core.caps.running))
    if running >= core.caps.running:
        return f"capacity: {core.caps.running} operations of the tenant are with runners"
    if operation.phase is Phase.APPLY:
        lock = await core.store.read(GetLock(operation.lock))
        if lock.state is not LockState.FREE:
            return f"lock:{operation.lock} ({lock.state.value})"
        if await looking.lock_awaits(core, operation) is not None:
            return f"verify:{operation.lock} (what an earlier change did is not known yet)"
    return None


@step(6)
@step(10)
async def lease(core: Core, peer: RunnerPeer, request: LeaseRequest, operation: Operation) -> LeaseOffer | None:
    """Decide again under the epoch of now, then hand one attempt to one runner; None when it cannot be leased now.

    For apply this asks `apply`: are the votes still sufficient under the policy of now? No allow, no grant (invariant 1).
    """
    for _ in range(EPOCH_RACES):
        epoch = core.standing.epoch
        held_by = await queue(core, operation)
        if held_by is not None:
            await transitions.note_waiting(core, operation, held_by)
            return None
        verdict = await judge(core, operation, question=question_of(operation.phase), where=Where(request.image))
        if verdict.event is Event.WAITS:
            await transitions.note_waiting(core, operation, verdict.waiting_for or "policy", verdict)
            return None
        if verdict.event is not None:
            await transitions.turned_away(core, operation, verdict, epoch)
            return None
        outcome, offer = await transitions.hand_out(core, peer, request, operation, verdict, epoch)
        if await core.overtaken(outcome):
            continue
        return offer if isinstance(outcome, Done) else None
    return None


@step(7)
@step(12)
async def start(
    core: Core, peer: RunnerPeer, attempt: Attempt, operation: Operation, request: StartRequest
) -> StartAnswer:
    """*Start*: one transaction that re-reads everything that may stop it, answered with a permit, at most once per attempt (invariant 2)."""
    if attempt.state is not AttemptState.LEASED:
        return StartAnswer(None, False, "already started: a start happens once, and its permit is not given twice")
    grant = await transitions.granted(core, attempt)
    refused = outcomes.stale(core, attempt, operation, grant.not_after if grant is not None else 0)
    if refused is not None or grant is None:
        return StartAnswer(None, False, refused)
    where = Where(grant.image)
    if attempt.phase is Phase.VERIFY:
        return await looking.start(core, where, transitions.Starting(attempt, operation, request, None))
    if operation.cancel_requested:
        return await transitions.cancelled(core, operation)
    if outcomes.inputs_differ(operation, request, attempt.phase):
        return await transitions.plan_again(core, operation, "The sealed inputs are not the approved ones.", None)
    # In a thread, as in `finish`: what a runner sends may take seconds to read.
    check = await asyncio.to_thread(check_stage, core, peer, attempt, operation, request)
    if check is not None and outcomes.check_differs(operation, check):
        return await transitions.plan_again(core, operation, "The plan made again now is not the approved one.", check)
    if check is not None and check.manifest.ended_ms_ago > core.timing.check_age * 1000:
        return StartAnswer(None, False, f"the check ended more than {core.timing.check_age} s ago; check again")
    starting = transitions.Starting(attempt, operation, request, check)
    for _ in range(EPOCH_RACES):
        epoch = core.standing.epoch
        verdict = await judge(core, operation, question=question_of(operation.phase), where=where)
        if verdict.event is not None:
            return await transitions.start_refused(core, operation, verdict)
        outcome, permit = await transitions.commit_start(core, starting, verdict, epoch)
        if await core.overtaken(outcome):
            continue
        if isinstance(outcome, Done):
            return StartAnswer(permit, False, None)
        return StartAnswer(None, False, "the operation, its attempt, its lock or its caller's standing changed")
    return StartAnswer(None, False, "the epoch keeps moving; try again")


@step(11)
def check_stage(
    core: Core, peer: RunnerPeer, attempt: Attempt, operation: Operation, request: StartRequest
) -> Reported | None:
    """The gateway's half of *check*: open the check stage's manifest; None for phases that have none. Raises BadInput."""
    if attempt.phase is not Phase.APPLY:
        if request.manifest is not None or request.plan is not None:
            raise BadInput("only an apply attempt has a check", field="manifest")
        return None
    if request.manifest is None:
        raise BadInput("an apply attempt starts only with its check stage's manifest", field="manifest")
    check = open_stage(core, peer, attempt, operation, StageReport(request.manifest, request.plan, None), Stage.CHECK)
    if check.manifest.outcome.status != "ok":
        raise BadInput("a check that did not succeed is no check; report it instead of starting", field="manifest")
    return check


@step(8)
async def decide_plan(core: Core, operation: Operation, attempt: Attempt, reported: Reported) -> Operation:
    """Ask `plan` on what would really change, then go where the answer leads. Raises Unavailable, Clash."""
    now = core.clock()
    planned = replace(operation, plan=reported.plan_record(now))
    grant = await transitions.granted(core, attempt)
    where = Where(grant.image) if grant is not None else None
    for _ in range(EPOCH_RACES):
        epoch = core.standing.epoch
        verdict = await outcomes.judge_plan(core, planned, reported, where)
        ended = outcomes.after_plan(core, planned, verdict)
        entries = (
            transitions.manifest_entry(operation, reported.manifest, reported.sha256),
            entry(EntryKind.PLAN_RECORDED, ended, **outcomes.plan_facts(planned)),
            *transitions.decisions(ended, verdict),
            *end_entry(ended),
        )
        outcome = await core.commit(
            Transition(
                now=core.clock(),
                entries=entries,
                operation=ended,
                expected_version=operation.version,
                attempts=(transitions.reported(attempt),),
                decisions=transitions.records(verdict, operation.id),
                envelopes=(reported.envelope,),
                plans=(reported.stored_plan(operation.id),),
                epoch=epoch,
                claims=transitions.claimed(ended, verdict),
                spends=transitions.acts(verdict),
            )
        )
        if await core.overtaken(outcome):
            continue
        return transitions.done(outcome, ended)
    raise Unavailable("Policy keeps changing; report again.", retry_after=1.0)


@step(9)
async def approve(core: Core, operation: Operation, verdict: Judgement) -> Operation:
    """The place a pending operation moves to after a vote was counted: policy of now says whether the votes suffice."""
    now = core.clock()
    if verdict.event is Event.DENIED:
        return moved(operation, Event.DENIED, now, reasons=verdict.reasons, message=outcomes.first_message(verdict))
    if verdict.event is Event.APPROVAL_MISSING:
        return replace(operation, version=operation.version + 1, updated_at=now)
    return moved(operation, Event.VOTES_SUFFICE, now, approval_expires_at=None, waiting_for=verdict.waiting_for)


@step(13)
async def finish(core: Core, peer: RunnerPeer, attempt: Attempt, operation: Operation, report: Report) -> Operation:
    """The end of an attempt as the runner signed it. Effect is what *verify* showed, never what the tool said. Repeats change nothing."""
    if attempt.state in (AttemptState.REPORTED, AttemptState.TORN_DOWN):
        return operation
    if not outcomes.may_report(attempt, operation):
        raise Clash("This attempt no longer speaks for its operation.", field="attempt")
    stages = await asyncio.to_thread(outcomes.open_stages, core, peer, attempt, operation, report)
    if attempt.phase is Phase.PLAN and stages[0].manifest.outcome.status == "ok":
        return await decide_plan(core, operation, attempt, stages[0])
    check = await looking.checked(core, operation) if attempt.phase in (Phase.APPLY, Phase.VERIFY) else None
    if attempt.phase is Phase.VERIFY:
        ended = looking.concluded(operation, stages[0], check, core.clock())
    else:
        ended = outcomes.conclude(core, attempt, operation, stages, check)
    entries = (
        *(transitions.manifest_entry(ended, stage.manifest, stage.sha256) for stage in stages),
        entry(EntryKind.OPERATION_MOVED, ended, attempt=attempt.id, phase=attempt.phase.value),
        *end_entry(ended),
    )
    outcome = await core.commit(
        Transition(
            now=core.clock(),
            entries=entries,
            operation=ended,
            expected_version=operation.version,
            attempts=(transitions.reported(attempt),) if attempt.state is not AttemptState.UNPROVEN else (),
            envelopes=tuple(stage.envelope for stage in stages),
        )
    )
    return transitions.done(outcome, ended)


@step(14)
async def settle(core: Core, peer: RunnerPeer, attempt: Attempt, operation: Operation, note: ReceiptNote) -> Operation:
    """The teardown receipt: proof opens the lock, anything less quarantines it. Late and repeated receipts are welcome.

    It proves only what it names: a sandbox of the attempt's manifests, or a credential noted as issued, that it leaves out is not gone.
    """
    receipt, envelope = open_receipt(core, peer, attempt, operation, note.receipt)
    missing = await left_out(core, attempt, receipt)
    proven = receipt.proven and not missing
    if attempt.state is AttemptState.TORN_DOWN or (attempt.state is AttemptState.UNPROVEN and not proven):
        return operation
    ended = outcomes.after_teardown(core, attempt, operation)
    to = AttemptState.TORN_DOWN if proven else AttemptState.UNPROVEN
    settled = replace(attempt, state=attempts.move(attempt.state, to), receipt_sha256=envelope.sha256)
    lock = await transitions.lock_change(core, attempt, LockEvent.TEARDOWN_PROVEN if proven else LockEvent.UNPROVEN)
    facts = {"attempt": attempt.id, "proven": proven, "receipt": envelope.sha256, "isolated": receipt.isolated}
    entries = [entry(EntryKind.RECEIPT_RECEIVED, ended, **facts)]
    if not proven:
        what = {"what": "teardown unproven", "attempt": attempt.id, "left_out": list(missing[:MAX_NAMED])}
        entries.append(entry(EntryKind.ALARM, ended, **what))
    outcome = await core.commit(
        Transition(
            now=core.clock(),
            entries=(*entries, *(end_entry(ended) if ended is not operation else ())),
            operation=ended if ended is not operation else None,
            expected_version=operation.version if ended is not operation else None,
            attempts=(AttemptChange(settled, attempt.state),),
            locks=lock,
            envelopes=(envelope,),
        )
    )
    return transitions.done(outcome, ended)
