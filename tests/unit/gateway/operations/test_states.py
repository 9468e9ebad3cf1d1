"""The operation's state table is ARCHITECTURE §4, row by row, and nothing else is allowed."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.contract.intent import Phase
from lockgate.gateway.operations.states import (
    FINAL,
    MAX_RETRIES,
    NEW,
    PLAN_ENTRY,
    EffectShown,
    Event,
    ForbiddenTransition,
    Place,
    State,
    Step,
    step,
    transitions,
)

ROWS = """
queued(read)      leased              leased(read)
queued(read)      denied              denied:none
queued(read)      waits               queued(read)
queued(read)      deadline            expired:none
queued(read)      cancelled           cancelled:none
queued(plan)      leased              leased(plan)
queued(plan)      denied              denied:none
queued(plan)      waits               queued(plan)
queued(plan)      deadline            expired:none
queued(plan)      cancelled           cancelled:none
queued(apply)     leased              leased(apply)
queued(apply)     denied              denied:none
queued(apply)     waits               queued(apply)
queued(apply)     deadline            expired:none
queued(apply)     cancelled           cancelled:none
queued(apply)     approval_missing    pending_approval
leased(read)      started             running(read)
leased(read)      grant_refused       failed:none
leased(read)      cancelled           cancelled:none
leased(read)      lease_lost          queued(read)
leased(read)      denied              denied:none
leased(plan)      started             running(plan)
leased(plan)      grant_refused       failed:none
leased(plan)      cancelled           cancelled:none
leased(plan)      lease_lost          queued(plan)
leased(plan)      denied              denied:none
leased(apply)     started             running(apply)
leased(apply)     grant_refused       failed:none
leased(apply)     cancelled           cancelled:none
leased(apply)     lease_lost          queued(apply)
leased(apply)     denied              denied:none
leased(apply)     check_differs       queued(plan)!
running(read)     finished            succeeded:none
running(read)     lease_lost          queued(read)
running(read)     tool_failed         failed:none
running(read)     cancelled           cancelled:none
running(plan)     lease_lost          queued(plan)
running(plan)     tool_failed         failed:none
running(plan)     cancelled           cancelled:none
running(plan)     plan_empty          succeeded:none
running(plan)     denied              denied:none
running(plan)     plan_dry_run        planned:none
running(plan)     plan_needs_approval pending_approval
running(plan)     plan_allowed        queued(apply)
pending_approval  votes_suffice       queued(apply)
pending_approval  denied              denied:none
pending_approval  rejected            denied:none
pending_approval  expired             expired:none
pending_approval  cancelled           cancelled:none
running(apply)    not_begun           failed:none
running(apply)    verified_empty      succeeded:full
running(apply)    verified_partial    failed:partial
running(apply)    verified_unchanged  failed:none
running(apply)    unknown             indeterminate:unknown
indeterminate     not_begun           failed:none
indeterminate     verified_empty      succeeded:full
indeterminate     verified_partial    failed:partial
indeterminate     verified_unchanged  failed:none
indeterminate     resolved_succeeded  succeeded:full
indeterminate     resolved_failed_none     failed:none
indeterminate     resolved_failed_partial  failed:partial
"""

BEYOND_THE_TABLE = """
leased(read)      tool_failed         failed:none
leased(plan)      tool_failed         failed:none
leased(apply)     tool_failed         failed:none
leased(apply)     approval_missing    pending_approval
running(read)     denied              denied:none
indeterminate     leased              indeterminate:unknown
indeterminate     started             indeterminate:unknown
"""
"""What §4 does not spell out: a tool that fails before *start* (sealing, the check stage), an approval that ran out between lease and
start, a read whose *finish* is denied, and the look that a verify attempt takes (TRUST §5). None of them leads to a write."""


def place(text: str) -> Place:
    name, _, phase = text.rstrip(")").partition("(")
    return Place(State(name), Phase(phase) if phase else None)


def parse(rows: str) -> dict[tuple[Place, Event], Step]:
    table = {}
    for row in rows.strip().splitlines():
        start, event, end = row.split()
        where, _, effect = end.rstrip("!").partition(":")
        made = Step(place(where), EffectShown(effect) if effect else None, end.endswith("!"))
        table[place(start), Event(event)] = made
    return table


TABLE = parse(ROWS) | parse(BEYOND_THE_TABLE)
PLACES = [Place(state, phase) for state in State for phase in (None, *Phase)]
events = st.lists(st.tuples(st.sampled_from(Event), st.integers(0, 5)), max_size=40)


def test_the_table_is_the_one_in_the_architecture() -> None:
    assert transitions() == TABLE


def test_whatever_is_not_in_the_table_is_forbidden() -> None:
    for where, event in itertools.product(PLACES, Event):
        if (where, event) in TABLE:
            assert step(where, event) == TABLE[where, event]
        else:
            with pytest.raises(ForbiddenTransition):
                step(where, event)


def test_final_states_have_no_exit() -> None:
    assert not [where for where, _ in transitions() if where.state in FINAL]
    assert {where.state for where in PLACES if where.final} == FINAL


def test_every_state_that_is_not_final_can_end() -> None:
    reached = {made.to for made in (*transitions().values(), *NEW.values(), *PLAN_ENTRY.values())}
    ends = {where for where in reached if where.final}
    while True:
        more = {where for (where, _), made in transitions().items() if made.to in ends} - ends
        if not more:
            break
        ends |= more
    assert reached <= ends
    assert {where.state for where in reached} == set(State)


def test_every_end_says_what_was_shown() -> None:
    for made in (*transitions().values(), *NEW.values(), *PLAN_ENTRY.values()):
        assert (made.effect is not None) == (made.to.final or made.to.state is State.INDETERMINATE)


def test_a_new_operation_enters_where_the_architecture_says() -> None:
    assert {key: made.to for key, made in NEW.items()} == {
        (Event.ALLOWED, Phase.READ): place("queued(read)"),
        (Event.ALLOWED, Phase.PLAN): place("queued(plan)"),
        (Event.DENIED, Phase.READ): place("denied"),
        (Event.DENIED, Phase.PLAN): place("denied"),
    }
    assert {key: made.to for key, made in PLAN_ENTRY.items()} == {
        Event.DENIED: place("denied"),
        Event.PLAN_EMPTY: place("succeeded"),
        Event.PLAN_NEEDS_APPROVAL: place("pending_approval"),
        Event.PLAN_ALLOWED: place("queued(apply)"),
    }


def test_a_started_apply_is_never_queued_failed_blindly_or_cancelled() -> None:
    """Invariant 7: only what verify or a human showed ends it."""
    after = {made.to.state for (where, _), made in transitions().items() if where == place("running(apply)")}
    assert after == {State.SUCCEEDED, State.FAILED, State.INDETERMINATE}
    blind = {Event.LEASE_LOST, Event.TOOL_FAILED, Event.CANCELLED, Event.DENIED, Event.DEADLINE, Event.GRANT_REFUSED}
    for where, event in itertools.product((place("running(apply)"), place("indeterminate")), blind):
        assert (where, event) not in transitions()


@pytest.mark.parametrize("event", [Event.LEASE_LOST, Event.CHECK_DIFFERS])
def test_the_fourth_return_to_the_queue_is_a_failure_without_effect(event: Event) -> None:
    for where in [where for where, found in transitions() if found is event]:
        for retries in range(MAX_RETRIES):
            assert step(where, event, retries=retries).to.state is State.QUEUED
        assert step(where, event, retries=MAX_RETRIES) == Step(Place(State.FAILED), EffectShown.NONE)


@given(st.sampled_from(sorted(NEW)), events)
def test_a_walk_applies_only_after_it_was_queued_for_apply_and_stays_where_it_ended(
    entry: tuple[Event, Phase], walk: list[tuple[Event, int]]
) -> None:
    where, seen = NEW[entry].to, [NEW[entry].to]
    for event, retries in walk:
        try:
            where = step(where, event, retries=retries).to
        except ForbiddenTransition:
            continue
        assert not seen[-1].final
        seen.append(where)
    for before, after in itertools.pairwise(seen):
        if after == place("running(apply)"):
            assert before == place("leased(apply)")
        if after == place("leased(apply)"):
            assert before == place("queued(apply)")
        if after == place("queued(apply)"):
            assert before in (*map(place, ("running(plan)", "pending_approval", "leased(apply)")), after)
