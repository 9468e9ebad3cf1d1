"""The query about what was asked and how it ended: a few fields of many operations, for counting; it must not know a provider."""

from __future__ import annotations

from dataclasses import dataclass

from lockgate.gateway.operations.model import Reason
from lockgate.gateway.store.query import Query


@dataclass(frozen=True, slots=True)
class AskedOperation:
    """What is counted of one operation. `ordinal` grows in the order of recording, `at` is Unix ms, `principal` an id.

    `request_sha256` names what was asked, without reason and idempotency key: action, target, arguments, dry run, plan applied.
    """

    ordinal: int
    at: int
    principal: str
    action: str
    state: str
    reasons: tuple[Reason, ...]
    request_sha256: str


@dataclass(frozen=True, slots=True)
class AskedOperations(Query[tuple[AskedOperation, ...]]):
    """Newest first; `before` is an ordinal to page on, `tenant` (None: all) limits to one's own; at most 2,000."""

    tenant: str | None = None
    before: int | None = None
    limit: int = 2_000
