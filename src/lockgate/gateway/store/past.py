"""Budgets and the past at the store's port: sums, what must hold of them inside a transaction, and history. A provider adds up; it must not judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lockgate.gateway.store.query import Query
from lockgate.policy.needs import Counts, Per

MAX_PAST = 64
"""How many operations history tells of."""

MAX_ADDED = 100_000
"""How many operations one sum adds up; where there are more of them it is `MAX_USED`."""

MAX_USED = 1_000_000_000_000

MOST = 20
"""How many of those who use most of a budget are told."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose use is added up: of the tenant, and of the principal, any of the humans and any of the targets where these are given."""

    tenant: str
    principal: str | None = None
    humans: tuple[str, ...] = ()
    targets: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """What operations in scope but `besides` use at `now` (Unix ms): all that are under way, and those that ended less than `window` (ms) ago."""

    scope: Scope
    counts: Counts
    now: int
    window: int
    besides: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Inside the transaction, with what it writes not yet counted: the sum and `asked` are at most `limit`, as the decision saw them to be."""

    budget: str
    sum: Sum
    asked: int
    limit: int


@dataclass(frozen=True, slots=True)
class Overdrawn:
    """A claim does not hold any more: others were faster; nothing was written; decide again."""

    budget: str


@dataclass(frozen=True, slots=True)
class Asking:
    """A sum to be told, with what a question asks on top of it."""

    sum: Sum
    asked: int
    limit: int


@dataclass(frozen=True, slots=True)
class Used:
    """What is used. `free_at` (Unix ms) is when enough is free again if nobody uses more; None: now, or no time can be told."""

    used: int
    free_at: int | None = None


class PastOperation(NamedTuple):
    """One operation of history; `at` (Unix ms) is when it came to its state. A tuple: there are `MAX_PAST` of them in many a question."""

    operation: str
    action: str
    effect: str
    target: str
    state: str
    rules: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Past:
    """`operations`: newest first. `cut_at` (Unix ms) is when the newest that did not fit came to its state."""

    operations: tuple[PastOperation, ...]
    cut_at: int | None
    used: tuple[Used, ...]


@dataclass(frozen=True, slots=True)
class ReadPast(Query[Past]):
    """What one principal's operations but `besides` did after `since` (Unix ms; None: nothing is asked), and sums, all of one moment."""

    tenant: str
    principal: str
    since: int | None
    besides: str | None
    sums: tuple[Asking, ...]


@dataclass(frozen=True, slots=True)
class UsedMost(Query[tuple[tuple[str, int], ...]]):
    """(who, used) of those who use most of what one budget adds up in a tenant, at most `MOST`; of a budget per tenant the tenant alone.

    A human who shares an agent with another is told with what each of them stands behind.
    """

    tenant: str
    per: Per
    counts: Counts
    now: int
    window: int
    targets: tuple[str, ...] | None
