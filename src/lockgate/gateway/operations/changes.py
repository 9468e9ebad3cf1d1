"""Makes the next record of an operation from an event, by the state table; it must not commit anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.operations.model import Operation, Reason
from lockgate.gateway.operations.states import Event, step


def moved(
    operation: Operation, event: Event, now: int, *, message: str = "", reasons: tuple[Reason, ...] = (), **changes: Any
) -> Operation:
    """The operation after `event`. `changes` are further fields. Raises ForbiddenTransition."""
    retries = operation.check_retries if event is Event.CHECK_DIFFERS else operation.lease_retries
    taken = step(operation.place, event, retries=retries)
    if event is Event.CHECK_DIFFERS:
        changes = {"check_retries": operation.check_retries + 1, "approval_expires_at": None, **changes}
    elif event is Event.LEASE_LOST:
        changes = {"lease_retries": operation.lease_retries + 1, **changes}
    return replace(
        operation,
        state=taken.to.state,
        phase=taken.to.phase,
        version=operation.version + 1,
        updated_at=now,
        effect_shown=taken.effect if taken.effect is not None else operation.effect_shown,
        **{"waiting_for": None, "message": message, "reasons": reasons, **changes},
    )


def entry(kind: EntryKind, operation: Operation, **body: Any) -> EntryDraft:
    """An entry about an operation, made by the gateway itself; `state` and `version` stand in every one."""
    return EntryDraft(kind, operation.id, None, {"state": operation.state.value, "version": operation.version, **body})


def end_entry(operation: Operation) -> tuple[EntryDraft, ...]:
    """The closing entry of an operation that has come to an end; nothing otherwise."""
    if not operation.place.final:
        return ()
    effect = operation.effect_shown.value if operation.effect_shown else None
    rules = [reason.rule for reason in operation.reasons]
    return (entry(EntryKind.OPERATION_ENDED, operation, effect=effect, rules=rules),)
