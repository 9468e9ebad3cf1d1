"""What exactly an operation waits for, in sentences for people with `view`: votes, a lock's holder, a freeze, a budget, a writer's end. It reads only."""

from __future__ import annotations

from datetime import UTC, datetime

from lockgate.gateway import budgets, looking
from lockgate.gateway.approvals.quorum import counting
from lockgate.gateway.core import Core
from lockgate.gateway.operations.judging import obligations_of
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.states import State
from lockgate.gateway.operations.transitions import writer_dead_at
from lockgate.gateway.store.port import AttemptsOf, GetAttempt, GetLock, VotesOf


async def awaited(core: Core, operation: Operation) -> tuple[str, ...]:
    """Sentences, most telling first; nothing for an operation that waits for nobody."""
    if operation.state is State.PENDING_APPROVAL:
        return await _votes(core, operation)
    if operation.state is State.INDETERMINATE:
        return await _writer(core, operation)
    if operation.state is not State.QUEUED or operation.waiting_for is None:
        return ()
    if operation.waiting_for.startswith("lock:"):
        return (operation.waiting_for, *await _holder(core, operation))
    if operation.waiting_for.startswith("verify:"):
        unknown = await looking.lock_awaits(core, operation)
        return (operation.waiting_for, *([f"operation {unknown} must be looked at first"] if unknown else []))
    if operation.waiting_for == "freeze":
        scopes = {"*", f"tenant:{operation.tenant}", f"target:{operation.target}"} & core.standing.frozen
        return tuple(f"frozen: {scope}" for scope in sorted(scopes)) or (operation.waiting_for,)
    if operation.waiting_for == "budget":
        return await budgets.over(core, operation) or (operation.waiting_for,)
    return (operation.waiting_for,)


async def _votes(core: Core, operation: Operation) -> tuple[str, ...]:
    asked = obligations_of(operation).approvals
    cast = await core.store.read(VotesOf(operation.id))
    given = sorted(counting(operation, cast, core.clock()))
    count = asked.count if asked is not None else 1
    said = [f"approvals: {len(given)} of {count}" + (f" ({', '.join(given)})" if given else "")]
    if asked is not None and asked.groups:
        said.append("of the groups: " + ", ".join(f"{needed} of {group}" for group, needed in asked.groups.items()))
    if operation.approval_expires_at is not None:
        said.append(f"expires at {_utc(operation.approval_expires_at)}")
    return tuple(said)


async def _holder(core: Core, operation: Operation) -> tuple[str, ...]:
    lock = await core.store.read(GetLock(operation.lock))
    attempt = await core.store.read(GetAttempt(lock.attempt)) if lock.attempt is not None else None
    if attempt is None:
        return ()
    return (f"{lock.state.value} since {_utc(lock.since)} by operation {attempt.operation}, attempt {attempt.id}",)


async def _writer(core: Core, operation: Operation) -> tuple[str, ...]:
    for attempt in await core.store.read(AttemptsOf(operation.id)):
        if attempt.fence == operation.fence:
            dead_at = await writer_dead_at(core, attempt)
            if dead_at is not None and dead_at > core.clock():
                return (f"attempt {attempt.id} may still be at work until {_utc(dead_at)}, or its teardown receipt",)
    return ("a person's word: nothing writes to the target any more",)


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
