"""The attempt's and the lock's tables, exhaustively."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.gateway.operations import attempts, locks
from lockgate.gateway.operations.attempts import AttemptState as A
from lockgate.gateway.operations.locks import LockEvent as E
from lockgate.gateway.operations.locks import LockState as L
from lockgate.gateway.operations.states import ForbiddenTransition

ATTEMPTS = {
    (A.LEASED, A.STARTED),
    (A.LEASED, A.REPORTED),
    (A.LEASED, A.TORN_DOWN),
    (A.LEASED, A.UNPROVEN),
    (A.STARTED, A.REPORTED),
    (A.STARTED, A.TORN_DOWN),
    (A.STARTED, A.UNPROVEN),
    (A.REPORTED, A.TORN_DOWN),
    (A.REPORTED, A.UNPROVEN),
    (A.UNPROVEN, A.TORN_DOWN),
}
LOCKS = {
    (L.FREE, E.ACQUIRED): L.HELD,
    (L.HELD, E.NEVER_STARTED): L.FREE,
    (L.HELD, E.TEARDOWN_PROVEN): L.FREE,
    (L.HELD, E.UNPROVEN): L.QUARANTINED,
    (L.QUARANTINED, E.TEARDOWN_PROVEN): L.FREE,
    (L.QUARANTINED, E.UNLOCKED_BY_HUMAN): L.FREE,
}


def test_an_attempt_moves_as_the_table_says_and_no_other_way() -> None:
    assert {(start, end) for start, ends in attempts.transitions().items() for end in ends} == ATTEMPTS
    for start, end in itertools.product(A, A):
        if (start, end) in ATTEMPTS:
            assert attempts.move(start, end) is end
        else:
            with pytest.raises(ForbiddenTransition):
                attempts.move(start, end)


def test_a_lock_moves_as_the_table_says_and_no_other_way() -> None:
    assert locks.transitions() == LOCKS
    for start, event in itertools.product(L, E):
        if (start, event) in LOCKS:
            assert locks.move(start, event) is LOCKS[start, event]
        else:
            with pytest.raises(ForbiddenTransition):
                locks.move(start, event)


@given(st.lists(st.sampled_from(A), max_size=12))
def test_an_attempt_starts_at_most_once_and_torn_down_is_the_end(walk: list[A]) -> None:
    """Invariant 2."""
    state, starts = A.LEASED, 0
    for end in walk:
        try:
            moved = attempts.move(state, end)
        except ForbiddenTransition:
            continue
        assert state is not A.TORN_DOWN
        state, starts = moved, starts + (moved is A.STARTED)
    assert starts <= 1


@given(st.lists(st.sampled_from(E), max_size=12))
def test_a_lock_opens_only_on_proof_or_a_humans_word(walk: list[E]) -> None:
    """Invariant 9; that no start was committed is the gateway's own proof that nobody could write (ADR 0006)."""
    state = L.FREE
    for event in walk:
        try:
            moved = locks.move(state, event)
        except ForbiddenTransition:
            continue
        if moved is L.FREE:
            assert event in (E.TEARDOWN_PROVEN, E.UNLOCKED_BY_HUMAN, E.NEVER_STARTED)
            assert (event is not E.NEVER_STARTED) or state is L.HELD
        state = moved
