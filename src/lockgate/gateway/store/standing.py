"""Queries about what a decision saw besides policy and catalog: the epoch, its revocations and freezes; it must not know a provider."""

from __future__ import annotations

from dataclasses import dataclass

from lockgate.gateway.store.query import Query


@dataclass(frozen=True, slots=True)
class GetEpoch(Query[int]):
    """The epoch that stands."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revoked token id (`token`) or a principal id whose tokens issued before or at `at` (Unix ms) are revoked (`principal`)."""

    kind: str
    subject: str
    at: int


@dataclass(frozen=True, slots=True)
class Revocations(Query[tuple[Revocation, ...]]):
    """Every revocation, for the gateway's look-up set (kept in step by epoch)."""


@dataclass(frozen=True, slots=True)
class Freezes(Query[tuple[str, ...]]):
    """Every frozen scope."""


@dataclass(frozen=True, slots=True)
class RecordedRevision(Query[str | None]):
    """The subject of the last Control of this kind (`policy`, `catalog`, `keyset`) that changed something: what was in force last."""

    kind: str
