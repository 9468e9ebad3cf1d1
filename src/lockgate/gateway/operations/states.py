"""The operation's state machine: one pure table (ARCHITECTURE §4). It must not read a clock, a store or a policy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lockgate.contract.intent import Phase


class State(StrEnum):
    """Where an operation is. Final states end it for good."""

    QUEUED = "queued"
    LEASED = "leased"
    RUNNING = "running"
    PENDING_APPROVAL = "pending_approval"
    INDETERMINATE = "indeterminate"
    SUCCEEDED = "succeeded"
    PLANNED = "planned"
    DENIED = "denied"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


FINAL = frozenset({State.SUCCEEDED, State.PLANNED, State.DENIED, State.FAILED, State.CANCELLED, State.EXPIRED})


class EffectShown(StrEnum):
    """What *verify* showed of the world, never what the tool said."""

    NONE = "none"
    PARTIAL = "partial"
    FULL = "full"
    UNKNOWN = "unknown"


class Event(StrEnum):
    """What can happen to an operation."""

    ALLOWED = "allowed"
    DENIED = "denied"
    LEASED = "leased"
    WAITS = "waits"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    APPROVAL_MISSING = "approval_missing"
    STARTED = "started"
    GRANT_REFUSED = "grant_refused"
    LEASE_LOST = "lease_lost"
    CHECK_DIFFERS = "check_differs"
    FINISHED = "finished"
    TOOL_FAILED = "tool_failed"
    PLAN_EMPTY = "plan_empty"
    PLAN_DRY_RUN = "plan_dry_run"
    PLAN_NEEDS_APPROVAL = "plan_needs_approval"
    PLAN_ALLOWED = "plan_allowed"
    VOTES_SUFFICE = "votes_suffice"
    REJECTED = "rejected"
    EXPIRED = "expired"
    NOT_BEGUN = "not_begun"
    VERIFIED_EMPTY = "verified_empty"
    VERIFIED_PARTIAL = "verified_partial"
    VERIFIED_UNCHANGED = "verified_unchanged"
    UNKNOWN = "unknown"
    RESOLVED_SUCCEEDED = "resolved_succeeded"
    RESOLVED_FAILED_NONE = "resolved_failed_none"
    RESOLVED_FAILED_PARTIAL = "resolved_failed_partial"


MAX_RETRIES = 3
"""How often an operation may go back to the queue for a lost lease, and how often for a check that differs."""


class ForbiddenTransition(ValueError):
    """The event may not happen in that state; the caller lost a race or is wrong. Nothing changes."""


@dataclass(frozen=True, slots=True)
class Place:
    """A state with the phase it is in (None where the state has none)."""

    state: State
    phase: Phase | None = None

    @property
    def final(self) -> bool:
        """True when nothing can happen any more."""
        return self.state in FINAL


@dataclass(frozen=True, slots=True)
class Step:
    """What a transition leads to: the new place, and for an end the effect shown."""

    to: Place
    effect: EffectShown | None = None
    void_votes: bool = False


S, E, P = State, Event, Phase


def _end(state: State, effect: EffectShown | None = EffectShown.NONE) -> Step:
    return Step(Place(state), effect)


_QUEUED_PLAN, _QUEUED_APPLY = Step(Place(S.QUEUED, P.PLAN)), Step(Place(S.QUEUED, P.APPLY))

NEW: dict[tuple[Event, Phase], Step] = {
    (E.ALLOWED, P.READ): Step(Place(S.QUEUED, P.READ)),
    (E.ALLOWED, P.PLAN): _QUEUED_PLAN,
    (E.DENIED, P.READ): _end(S.DENIED),
    (E.DENIED, P.PLAN): _end(S.DENIED),
}
"""A request's first place, by decision and first phase. `lockgate_apply_plan` enters at step 8 and uses PLAN_ENTRY."""

PLAN_ENTRY: dict[Event, Step] = {
    E.DENIED: _end(S.DENIED),
    E.PLAN_EMPTY: _end(S.SUCCEEDED),
    E.PLAN_NEEDS_APPROVAL: Step(Place(S.PENDING_APPROVAL)),
    E.PLAN_ALLOWED: _QUEUED_APPLY,
}

_TABLE: dict[tuple[Place, Event], Step] = {}


def _rows(place: Place, **steps: Step) -> None:
    for name, step in steps.items():
        _TABLE[place, Event[name]] = step


for _phase in (P.READ, P.PLAN, P.APPLY):
    _queued = Place(S.QUEUED, _phase)
    _rows(
        _queued,
        LEASED=Step(Place(S.LEASED, _phase)),
        DENIED=_end(S.DENIED),
        WAITS=Step(_queued),
        DEADLINE=_end(S.EXPIRED),
        CANCELLED=_end(S.CANCELLED),
    )
    _rows(
        Place(S.LEASED, _phase),
        STARTED=Step(Place(S.RUNNING, _phase)),
        GRANT_REFUSED=_end(S.FAILED),
        CANCELLED=_end(S.CANCELLED),
        LEASE_LOST=Step(_queued),
        TOOL_FAILED=_end(S.FAILED),
        DENIED=_end(S.DENIED),
    )

_rows(Place(S.QUEUED, P.APPLY), APPROVAL_MISSING=Step(Place(S.PENDING_APPROVAL)))
_rows(
    Place(S.LEASED, P.APPLY),
    CHECK_DIFFERS=Step(Place(S.QUEUED, P.PLAN), void_votes=True),
    APPROVAL_MISSING=Step(Place(S.PENDING_APPROVAL)),
)
_rows(Place(S.RUNNING, P.READ), FINISHED=_end(S.SUCCEEDED))
for _phase in (P.READ, P.PLAN):
    _rows(
        Place(S.RUNNING, _phase),
        LEASE_LOST=Step(Place(S.QUEUED, _phase)),
        TOOL_FAILED=_end(S.FAILED),
        CANCELLED=_end(S.CANCELLED),
        DENIED=_end(S.DENIED),
    )
_rows(
    Place(S.RUNNING, P.PLAN),
    PLAN_EMPTY=_end(S.SUCCEEDED),
    PLAN_DRY_RUN=_end(S.PLANNED),
    PLAN_NEEDS_APPROVAL=Step(Place(S.PENDING_APPROVAL)),
    PLAN_ALLOWED=_QUEUED_APPLY,
)
_rows(
    Place(S.PENDING_APPROVAL),
    VOTES_SUFFICE=_QUEUED_APPLY,
    DENIED=_end(S.DENIED),
    REJECTED=_end(S.DENIED),
    EXPIRED=_end(S.EXPIRED),
    CANCELLED=_end(S.CANCELLED),
)
_rows(
    Place(S.RUNNING, P.APPLY),
    # Started, but no sandbox was given leave to go: what could have applied it never ran.
    NOT_BEGUN=_end(S.FAILED),
    VERIFIED_EMPTY=_end(S.SUCCEEDED, EffectShown.FULL),
    VERIFIED_PARTIAL=_end(S.FAILED, EffectShown.PARTIAL),
    VERIFIED_UNCHANGED=_end(S.FAILED),
    UNKNOWN=Step(Place(S.INDETERMINATE), EffectShown.UNKNOWN),
)
_rows(
    Place(S.INDETERMINATE),
    # An attempt of phase verify looks at what is there (TRUST §5): nothing is known before its report.
    LEASED=Step(Place(S.INDETERMINATE), EffectShown.UNKNOWN),
    STARTED=Step(Place(S.INDETERMINATE), EffectShown.UNKNOWN),
    NOT_BEGUN=_end(S.FAILED),
    VERIFIED_EMPTY=_end(S.SUCCEEDED, EffectShown.FULL),
    VERIFIED_PARTIAL=_end(S.FAILED, EffectShown.PARTIAL),
    VERIFIED_UNCHANGED=_end(S.FAILED),
    RESOLVED_SUCCEEDED=_end(S.SUCCEEDED, EffectShown.FULL),
    RESOLVED_FAILED_NONE=_end(S.FAILED),
    RESOLVED_FAILED_PARTIAL=_end(S.FAILED, EffectShown.PARTIAL),
)


def step(place: Place, event: Event, *, retries: int = 0) -> Step:
    """Where `event` leads from `place`. `retries` counts earlier returns to the queue for the same cause.

    The third return to the queue is the last: then the operation fails with effect none. Raises ForbiddenTransition.
    """
    found = _TABLE.get((place, event))
    if found is None:
        where = f"{place.state}({place.phase})" if place.phase else str(place.state)
        raise ForbiddenTransition(f"{event} cannot happen to an operation that is {where}")
    if event in (Event.LEASE_LOST, Event.CHECK_DIFFERS) and retries >= MAX_RETRIES:
        return _end(State.FAILED)
    return found


def transitions() -> dict[tuple[Place, Event], Step]:
    """The whole table, for the tests and the generated reference."""
    return dict(_TABLE)
