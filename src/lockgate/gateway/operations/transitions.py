"""The transactions behind the steps: each builds one Transition and commits it; it must not decide which one is due."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lockgate.contract.decision import Decision
from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.evidence import Manifest
from lockgate.contract.grant import Grant, read_grant
from lockgate.contract.intent import Effect, Phase
from lockgate.contract.runnerapi import LeaseOffer, LeaseRequest, StartAnswer, StartRequest
from lockgate.gateway.admission import decision_entry
from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.catalog.model import Action, Target
from lockgate.gateway.core import Core
from lockgate.gateway.doors import RunnerPeer
from lockgate.gateway.errors import Clash, Unavailable
from lockgate.gateway.operations import attempts, locks, openings, outcomes
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.changes import end_entry, entry, moved
from lockgate.gateway.operations.judging import Judgement
from lockgate.gateway.operations.locks import LockEvent, LockState
from lockgate.gateway.operations.manifests import Reported
from lockgate.gateway.operations.model import Attempt, DecisionRecord, Operation
from lockgate.gateway.operations.states import Event, State
from lockgate.gateway.scheduling.granting import GRANT_MARGIN_SECONDS, attempt_for, grant_for, permit_for, work_for
from lockgate.gateway.store.port import (
    AttemptChange,
    Claim,
    Conflict,
    Done,
    EnvelopesOf,
    GetLock,
    LockChange,
    Outcome,
    StillTrusted,
    Transition,
)

RACE_SECONDS = 0.2
"""When to say again what lost a race. A runner that took the refusal as final would drop its receipt, and the lock would stay shut."""

MAX_WALL_SECONDS = 86_400
"""The most that a catalog's limits allow (its schema)."""


async def note_waiting(core: Core, operation: Operation, reason: str, verdict: Judgement | None = None) -> None:
    """Say what a queued operation waits for, once per reason, with the decision that makes it wait if policy does; and until when, if the clock ends it."""
    if verdict is not None and verdict.asked is not None and reason in openings.RULES:
        asked = verdict.asked.document, verdict.asked.decision
        reason = await core.lookout.reason(core.engine, operation.id, reason, asked)
    if operation.waiting_for == reason:
        return
    waiting = moved(operation, Event.WAITS, core.clock(), waiting_for=reason, approval_expires_at=None)
    decided = decisions(waiting, verdict) if verdict is not None else ()
    await core.commit(
        Transition(
            now=core.clock(),
            entries=(*decided, entry(EntryKind.OPERATION_WAITS, waiting, waiting_for=reason)),
            operation=waiting,
            expected_version=operation.version,
            decisions=records(verdict, operation.id) if verdict is not None else (),
        )
    )


async def turned_away(core: Core, operation: Operation, verdict: Judgement, epoch: int) -> None:
    """A queued operation that may not be leased: denied, or back to its approvers."""
    event = verdict.event or Event.DENIED
    fields = (
        {"approval_expires_at": outcomes.approval_expiry(core, operation)} if event is Event.APPROVAL_MISSING else {}
    )
    reasons = verdict.reasons if event is Event.DENIED else ()
    ended = moved(operation, event, core.clock(), reasons=reasons, message=outcomes.first_message(verdict), **fields)
    await core.commit(
        Transition(
            now=core.clock(),
            entries=(*decisions(ended, verdict), entry(EntryKind.OPERATION_MOVED, ended), *end_entry(ended)),
            operation=ended,
            expected_version=operation.version,
            decisions=records(verdict, operation.id),
            epoch=epoch,
        )
    )


async def hand_out(
    core: Core, peer: RunnerPeer, request: LeaseRequest, operation: Operation, verdict: Judgement, epoch: int
) -> tuple[Outcome, LeaseOffer | None]:
    """Commit a lease: attempt, fence, lock and grant in one transaction; the offer is None unless it was committed."""
    decision, action, target = allowed(verdict)
    attempt = attempt_for(core, operation, peer, request.poll_id, decision)
    attempt, grant = grant_for(core, operation, attempt, decision, target, request.image)
    leased = moved(
        operation,
        Event.LEASED,
        core.clock(),
        fence=attempt.fence,
        decision=decision.id,
        message=_kept_message(operation),
    )
    facts = {"attempt": attempt.id, "fence": attempt.fence, "runner": peer.runner, "grant": grant.sha256}
    held: tuple[LockChange, ...] = ()
    if attempt.lock is not None:
        held = (
            LockChange(attempt.lock, LockState.FREE, None, locks.move(LockState.FREE, LockEvent.ACQUIRED), attempt.id),
        )
    outcome = await core.commit(
        Transition(
            now=attempt.leased_at,
            entries=(*decisions(leased, verdict), entry(EntryKind.OPERATION_LEASED, leased, **facts)),
            operation=leased,
            expected_version=operation.version,
            attempts=(AttemptChange(attempt, None),),
            locks=held,
            decisions=records(verdict, operation.id),
            envelopes=(grant,),
            trusted=_still_trusted(operation),
            epoch=epoch,
            claims=claimed(operation, verdict),
            spends=True,
        )
    )
    if not isinstance(outcome, Done):
        return outcome, None
    work = work_for(operation, action, target)
    return outcome, LeaseOffer(grant.envelope.decode(), work, core.clock(), core.timing.lease)


@dataclass(frozen=True, slots=True)
class Starting:
    """A start that has passed every check and is about to be committed."""

    attempt: Attempt
    operation: Operation
    request: StartRequest
    check: Reported | None


async def commit_start(core: Core, starting: Starting, verdict: Judgement, epoch: int) -> tuple[Outcome, str]:
    """One transaction: operation, attempt and lock as they were read, caller still trusted, epoch unmoved. Answers with the permit."""
    attempt, operation, request, check = starting.attempt, starting.operation, starting.request, starting.check
    decision, _, _ = allowed(verdict)
    check_sha256 = check.sha256 if check is not None else None
    permit, envelope = permit_for(core, attempt, request.inputs_sha256, check_sha256)
    started = replace(
        attempt,
        state=attempts.move(attempt.state, AttemptState.STARTED),
        started_at=permit.issued_at,
        inputs_sha256=request.inputs_sha256,
        check_sha256=check_sha256,
        permit_id=permit.id,
        decision=decision.id,
    )
    running = moved(operation, Event.STARTED, core.clock(), decision=decision.id, message=_kept_message(operation))
    facts = {
        "attempt": attempt.id,
        "fence": attempt.fence,
        "permit": permit.id,
        "decision": decision.id,
        "inputs_sha256": request.inputs_sha256,
        "check": check_sha256,
        "semantic_sha256": operation.plan.semantic_sha256 if operation.plan and attempt.phase is Phase.APPLY else None,
    }
    held: tuple[LockChange, ...] = ()
    if attempt.lock is not None:
        held = (LockChange(attempt.lock, LockState.HELD, attempt.id, LockState.HELD, attempt.id),)
    outcome = await core.commit(
        Transition(
            now=permit.issued_at,
            entries=(*decisions(running, verdict), entry(EntryKind.START_COMMITTED, running, **facts)),
            operation=running,
            expected_version=operation.version,
            attempts=(AttemptChange(started, AttemptState.LEASED),),
            locks=held,
            decisions=records(verdict, operation.id),
            envelopes=(envelope, *((check.envelope,) if check else ())),
            trusted=_still_trusted(operation),
            epoch=epoch,
            claims=claimed(operation, verdict),
            spends=True,
        )
    )
    return outcome, envelope.envelope.decode()


def _kept_message(operation: Operation) -> str:
    """While it is looked at, an indeterminate operation still says why it is one."""
    return operation.message if operation.state is State.INDETERMINATE else ""


async def start_refused(core: Core, operation: Operation, verdict: Judgement) -> StartAnswer:
    """A start that policy, revocation or catalog no longer allows: the operation moves, and no permit exists."""
    event = Event.LEASE_LOST if verdict.event is Event.WAITS else verdict.event or Event.DENIED
    fields = (
        {"approval_expires_at": outcomes.approval_expiry(core, operation)} if event is Event.APPROVAL_MISSING else {}
    )
    message = outcomes.first_message(verdict)
    refused = moved(operation, event, core.clock(), reasons=verdict.reasons, message=message, **fields)
    if event is Event.LEASE_LOST and refused.state is State.QUEUED:
        refused = replace(refused, waiting_for=verdict.waiting_for, reasons=())
    rules = [reason.rule for reason in verdict.reasons]
    await core.commit(
        Transition(
            now=core.clock(),
            entries=(
                *decisions(refused, verdict),
                entry(EntryKind.START_REFUSED, refused, rules=rules),
                *end_entry(refused),
            ),
            operation=refused,
            expected_version=operation.version,
            decisions=records(verdict, operation.id),
        )
    )
    return StartAnswer(None, False, message or "no longer allowed")


async def cancelled(core: Core, operation: Operation) -> StartAnswer:
    """A start that meets a wish to cancel."""
    ended = moved(operation, Event.CANCELLED, core.clock(), message="Cancelled before it started.")
    await core.commit(
        Transition(now=core.clock(), entries=end_entry(ended), operation=ended, expected_version=operation.version)
    )
    return StartAnswer(None, False, "cancelled")


async def lock_change(core: Core, attempt: Attempt, event: LockEvent) -> tuple[LockChange, ...]:
    """What happens to the attempt's lock on `event`; nothing when it holds none any more."""
    if attempt.lock is None:
        return ()
    lock = await core.store.read(GetLock(attempt.lock))
    if lock.attempt != attempt.id or (lock.state is LockState.QUARANTINED and event is LockEvent.UNPROVEN):
        return ()
    to = locks.move(lock.state, event)
    return (LockChange(lock.name, lock.state, attempt.id, to, None if to is LockState.FREE else attempt.id),)


def allowed(verdict: Judgement) -> tuple[Decision, Action, Target]:
    """The allow decision with its action and target (invariant 1). Raises Unavailable when there is none."""
    if verdict.asked is None or not verdict.asked.decision.allow or verdict.action is None or verdict.target is None:
        raise Unavailable("There is no allow decision to act on.")
    return verdict.asked.decision, verdict.action, verdict.target


def _still_trusted(operation: Operation) -> StillTrusted:
    who = operation.principal
    frozen = ("*", f"tenant:{operation.tenant}", f"target:{operation.target}")
    scopes = () if operation.effect is Effect.READ else frozen
    return StillTrusted(tuple((who.token_id, person, operation.created_at) for person in sorted(who.persons)), scopes)


def acts(verdict: Judgement) -> bool:
    """Whether there is an *allow* to act on."""
    return verdict.asked is not None and verdict.asked.decision.allow


def claimed(after: Operation, verdict: Judgement) -> tuple[Claim, ...]:
    """What must hold of budgets when the operation goes on; one that has ended takes nothing."""
    return () if verdict.asked is None or after.place.final else verdict.asked.claims


def reported(attempt: Attempt) -> AttemptChange:
    """The attempt moves to reported."""
    return AttemptChange(replace(attempt, state=attempts.move(attempt.state, AttemptState.REPORTED)), attempt.state)


def decisions(operation: Operation, verdict: Judgement) -> tuple[EntryDraft, ...]:
    """The decision as an audit entry, when policy was reached."""
    if verdict.asked is None:
        return ()
    return (decision_entry(operation.id, operation.principal.id, verdict.asked),)


def records(verdict: Judgement, operation: str) -> tuple[DecisionRecord, ...]:
    """The decision as a record, when policy was reached."""
    return () if verdict.asked is None else (replace(verdict.asked.record, operation=operation),)


def manifest_entry(operation: Operation, manifest: Manifest, sha256: str) -> EntryDraft:
    """The entry of a received manifest."""
    return entry(
        EntryKind.MANIFEST_RECEIVED,
        operation,
        attempt=manifest.attempt,
        stage=manifest.stage.value,
        manifest=sha256,
        outcome=manifest.outcome.status,
        semantic_sha256=manifest.plan.semantic_sha256 if manifest.plan else None,
    )


def done(outcome: Outcome, operation: Operation) -> Operation:
    """The operation, if it was committed. Raises Clash when something else came first: what was said may still hold of what is now."""
    if isinstance(outcome, Done):
        return operation
    what = outcome.what if isinstance(outcome, Conflict) else "epoch"
    raise Clash(f"Something else happened to the operation first ({what}).", field=what, retry_after=RACE_SECONDS)


async def plan_again(core: Core, operation: Operation, why: str, check: Reported | None) -> StartAnswer:
    """The world or the source moved since approval: nothing is applied, votes no longer match, plan again (at most three times)."""
    again = moved(operation, Event.CHECK_DIFFERS, core.clock(), message=why + " Nothing was applied.")
    outcome = await core.commit(
        Transition(
            now=core.clock(),
            entries=(
                entry(EntryKind.CHECK_DIFFERED, again, why=why, check=check.sha256 if check else None),
                *end_entry(again),
            ),
            operation=again,
            expected_version=operation.version,
            envelopes=(check.envelope,) if check else (),
        )
    )
    done(outcome, again)
    return StartAnswer(None, True, None)


async def grant_expiry(core: Core, attempt: Attempt) -> int:
    """When the attempt's grant expires (Unix ms), read from the stored envelope itself."""
    grant = await granted(core, attempt)
    return grant.not_after if grant is not None else 0


async def writer_dead_at(core: Core, attempt: Attempt) -> int | None:
    """When the attempt can change nothing any more (Unix ms, TRUST §5); None when its teardown is proven.

    A sandbox made at the last moment of the lease, and its credential, live no longer than the grant's wall limit; of a grant that its key no longer
    vouches for, no longer than any catalog allows.
    """
    if attempt.state is AttemptState.TORN_DOWN:
        return None
    try:
        grant = await granted(core, attempt)
    except EnvelopeError:
        grant = None
    wall = grant.limits.wall_seconds if grant is not None else MAX_WALL_SECONDS
    return attempt.lease_until + (wall + GRANT_MARGIN_SECONDS) * 1000


async def granted(core: Core, attempt: Attempt) -> Grant | None:
    """The attempt's grant, read from the stored envelope itself. Raises EnvelopeError."""
    for record in await core.store.read(EnvelopesOf(attempt.operation)):
        if record.sha256 == attempt.grant_sha256:
            return read_grant(record.envelope, core.keyset)
    return None
