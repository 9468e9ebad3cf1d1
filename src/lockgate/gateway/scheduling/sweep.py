"""Ends what time has ended: leases that ran out, deadlines, approvals nobody gave. It must not end a started apply as failed (invariant 7)."""

from __future__ import annotations

from dataclasses import replace

from lockgate.gateway.audit.entries import EntryKind
from lockgate.gateway.core import Core
from lockgate.gateway.operations import attempts, outcomes
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.changes import end_entry, entry, moved
from lockgate.gateway.operations.locks import LockEvent
from lockgate.gateway.operations.model import Attempt, Operation
from lockgate.gateway.operations.states import Event, State
from lockgate.gateway.operations.transitions import lock_change
from lockgate.gateway.store.port import AttemptChange, Done, DueOperations, GetOperation, LiveAttempts, Transition


async def sweep(core: Core) -> int:
    """One pass; answers how many records it moved. Idempotent: any number of sweepers may run."""
    now = core.clock()
    count = 0
    for attempt in await core.store.read(LiveAttempts(expired_at=now)):
        operation = await core.store.read(GetOperation(attempt.operation))
        if operation is not None:
            count += await lease_ended(core, attempt, operation)
    for operation in await core.store.read(DueOperations(now)):
        count += await overdue(core, operation)
    return count


async def lease_ended(core: Core, attempt: Attempt, operation: Operation) -> int:
    """A runner went silent: its attempt is unproven, its lock quarantined if it had started, its operation goes where the table says.

    Only while the lease still ends when it was read to end: a heartbeat that came in between wins. Answers 1, or 0 when something came first.
    """
    reported = attempt.state is AttemptState.REPORTED
    after = operation
    if not reported and outcomes.speaks_for(attempt, operation):
        after = outcomes.lost(core, attempt, operation, "The runner's lease ran out.")
    changed = after is not operation
    unproven = replace(attempt, state=attempts.move(attempt.state, AttemptState.UNPROVEN))
    entries = [entry(EntryKind.LEASE_LOST, after, attempt=attempt.id, fence=attempt.fence, was=attempt.state.value)]
    started = attempt.started_at is not None
    locks = await lock_change(core, attempt, LockEvent.UNPROVEN if started else LockEvent.NEVER_STARTED)
    if locks and started:
        entries.append(entry(EntryKind.LOCK_QUARANTINED, after, lock=attempt.lock, attempt=attempt.id))
    outcome = await core.commit(
        Transition(
            now=core.clock(),
            entries=(*entries, *(end_entry(after) if changed else ())),
            operation=after if changed else None,
            expected_version=operation.version if changed else None,
            attempts=(AttemptChange(unproven, attempt.state, attempt.lease_until),),
            locks=locks,
        )
    )
    return int(isinstance(outcome, Done))


async def overdue(core: Core, operation: Operation) -> int:
    """A queued operation past its deadline, or a pending one whose time for votes is over."""
    if operation.state is State.QUEUED:
        event, message = Event.DEADLINE, "Its deadline passed while it was waiting."
    elif operation.state is State.PENDING_APPROVAL:
        event, message = Event.EXPIRED, "Nobody approved it in time."
    else:
        return 0
    ended = moved(operation, event, core.clock(), message=message)
    await core.commit(
        Transition(now=core.clock(), entries=end_entry(ended), operation=ended, expected_version=operation.version)
    )
    return 1
