"""The target lock's state machine: free → held → free, or quarantined until proof or a human's word. It must not open by time alone."""

from __future__ import annotations

from enum import StrEnum

from lockgate.gateway.operations.states import ForbiddenTransition


class LockState(StrEnum):
    """Whether an attempt may hold the target."""

    FREE = "free"
    HELD = "held"
    QUARANTINED = "quarantined"


class LockEvent(StrEnum):
    """What can happen to a lock."""

    ACQUIRED = "acquired"
    NEVER_STARTED = "never_started"
    TEARDOWN_PROVEN = "teardown_proven"
    UNPROVEN = "unproven"
    UNLOCKED_BY_HUMAN = "unlocked_by_human"


_TABLE: dict[tuple[LockState, LockEvent], LockState] = {
    (LockState.FREE, LockEvent.ACQUIRED): LockState.HELD,
    (LockState.HELD, LockEvent.TEARDOWN_PROVEN): LockState.FREE,
    # Without a committed start there was no permit, so no write credential and no writable path ever existed (ADR 0006).
    (LockState.HELD, LockEvent.NEVER_STARTED): LockState.FREE,
    (LockState.HELD, LockEvent.UNPROVEN): LockState.QUARANTINED,
    (LockState.QUARANTINED, LockEvent.TEARDOWN_PROVEN): LockState.FREE,
    (LockState.QUARANTINED, LockEvent.UNLOCKED_BY_HUMAN): LockState.FREE,
}


def move(state: LockState, event: LockEvent) -> LockState:
    """The new state. Raises ForbiddenTransition."""
    to = _TABLE.get((state, event))
    if to is None:
        raise ForbiddenTransition(f"{event} cannot happen to a lock that is {state}")
    return to


def transitions() -> dict[tuple[LockState, LockEvent], LockState]:
    """The whole table."""
    return dict(_TABLE)
