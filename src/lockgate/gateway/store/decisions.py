"""What is asked of the store about decisions and the policies that made them, and the command that forgets them; it must not know a provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lockgate.gateway.operations.model import DecisionRecord
from lockgate.gateway.store.query import Query

MAX_DECISIONS: Final = 200
MAX_PAGE_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class GetDecision(Query[DecisionRecord | None]):
    """One decision by id. Its input is None when it is no longer kept."""

    id: str


@dataclass(frozen=True, slots=True)
class DecisionsOf(Query[tuple[DecisionRecord, ...]]):
    """All decisions of an operation, oldest first."""

    operation: str


@dataclass(frozen=True, slots=True)
class Decisions(Query[tuple[DecisionRecord, ...]]):
    """A page of decisions in the order of their time; the empty page is the end: page on with `after`, the id of the last one.

    From `since` on and before `until` (Unix ms); `newest` first or oldest first. At most `limit` (200), and less when their kept inputs come to
    32 MiB; without `inputs` those are None. A page of an `after` that is not kept is empty.
    """

    since: int = 0
    until: int | None = None
    tenant: str | None = None
    operation: str | None = None
    questions: tuple[str, ...] = ()
    allow: bool | None = None
    after: str | None = None
    newest: bool = False
    inputs: bool = True
    limit: int = 100


@dataclass(frozen=True, slots=True)
class GetBundle(Query[bytes | None]):
    """The policy of a revision as `policy.keeping.pack` made it; None when it is not kept."""

    revision: str


@dataclass(frozen=True, slots=True)
class OldestKept(Query[tuple[int | None, int | None]]):
    """When (Unix ms) the oldest decision that may still have its input was made, and the oldest of all; None when there is none."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop the inputs of decisions made before `inputs_before` and the records of those made before `records_before` (Unix ms), oldest first.

    At most `limit` of each a time. The audit log stays as it is. Answers Done(None).
    """

    inputs_before: int
    records_before: int
    limit: int = 1_000


@dataclass(frozen=True, slots=True)
class KeepBundle:
    """Keep the policy of a revision (`policy.keeping.pack`), and of all at most `most`: the oldest go first. Answers Done(None)."""

    revision: str
    packed: bytes
    now: int
    most: int = 50
