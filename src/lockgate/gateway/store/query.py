"""What a query is, and the queries about the audit log; it must not know a provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from lockgate.gateway.audit.entries import Head, StoredEntry

R_co = TypeVar("R_co", covariant=True)


class Query(Generic[R_co]):
    """Base of all queries; the type parameter is what `read` answers."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class AuditEntries(Query[tuple[StoredEntry, ...]]):
    """Entries from `seq` on, in order; at most `limit`; with `operation` only that operation's, with `tenant` only those of its operations, with `kind` only that kind."""

    since: int = 0
    limit: int = 500
    operation: str | None = None
    tenant: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class TreeHead(Query[Head]):
    """The audit tree's size and root."""


@dataclass(frozen=True, slots=True)
class LeafHashes(Query[tuple[bytes, ...]]):
    """RFC 6962 leaf hashes [start, end), for proofs; at most 100,000 a call."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ConsistencyProof(Query[tuple[bytes, ...]]):
    """RFC 9162 §2.1.4 proof that the tree of `old` leaves is a prefix of that of `new`, from few rows however long the log."""

    old: int
    new: int


@dataclass(frozen=True, slots=True)
class InclusionProof(Query[tuple[bytes, ...]]):
    """RFC 9162 §2.1.3 audit path of entry `seq` in the tree of `size` leaves, from few rows however long the log."""

    seq: int
    size: int
