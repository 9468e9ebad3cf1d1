"""The attempt's state machine: one lease to one proven teardown. It must not be confused with the operation's outcome."""

from __future__ import annotations

from enum import StrEnum

from lockgate.gateway.operations.states import ForbiddenTransition


class AttemptState(StrEnum):
    """`torn_down` and `unproven` are final; an unproven one keeps its lock quarantined."""

    LEASED = "leased"
    STARTED = "started"
    REPORTED = "reported"
    TORN_DOWN = "torn_down"
    UNPROVEN = "unproven"


_TABLE: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.LEASED: frozenset(
        {AttemptState.STARTED, AttemptState.REPORTED, AttemptState.TORN_DOWN, AttemptState.UNPROVEN}
    ),
    AttemptState.STARTED: frozenset({AttemptState.REPORTED, AttemptState.TORN_DOWN, AttemptState.UNPROVEN}),
    AttemptState.REPORTED: frozenset({AttemptState.TORN_DOWN, AttemptState.UNPROVEN}),
    # A late signed receipt of the same fence turns an unproven end into a proven one; nothing else does.
    AttemptState.UNPROVEN: frozenset({AttemptState.TORN_DOWN}),
    AttemptState.TORN_DOWN: frozenset(),
}


def move(state: AttemptState, to: AttemptState) -> AttemptState:
    """The new state. Raises ForbiddenTransition."""
    if to not in _TABLE[state]:
        raise ForbiddenTransition(f"an attempt that is {state} cannot become {to}")
    return to


def transitions() -> dict[AttemptState, frozenset[AttemptState]]:
    """The whole table."""
    return dict(_TABLE)
