"""Audit entries on their way into a store: bodies canonical and bounded, then numbered and hashed. It must not do input or output."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lockgate.contract.canonical import CanonicalError, canonical, sha256
from lockgate.contract.merkle import Frontier, leaf_hash
from lockgate.contract.strictjson import MAX_SAFE_INTEGER
from lockgate.gateway.audit.entries import EntryDraft, StoredEntry
from lockgate.gateway.store.port import StoreError

MAX_BODY_BYTES = 64 << 10
STORED_LEVEL = 8
"""Complete nodes from this level up are kept beside the leaves, so that a proof needs few hashes."""


@dataclass(frozen=True, slots=True)
class PreparedEntry:
    """A draft whose body is fixed: everything but its number."""

    time: int
    kind: str
    operation: str | None
    principal: str | None
    body_sha256: str
    body: bytes


EntryRow = tuple[int, int, str, str | None, str | None, str, bytes, bytes]
"""seq, time, kind, operation, principal, body_sha256, body, leaf hash."""
NodeRow = tuple[int, int, bytes]
"""level, index, hash."""


def prepare(drafts: tuple[EntryDraft, ...], now: int) -> tuple[PreparedEntry, ...]:
    """Canonical bodies with their digests. Raises StoreError naming the entry: no canonical form, or over 64 KiB."""
    if not 0 <= now <= MAX_SAFE_INTEGER:
        raise StoreError(f"now: {now} is no time in Unix ms")
    return tuple(_prepared(draft, now, f"entries[{index}]") for index, draft in enumerate(drafts))


def _prepared(draft: EntryDraft, now: int, field: str) -> PreparedEntry:
    try:
        body = canonical(draft.body)
        for text in (draft.operation, draft.principal):
            if text is not None:
                text.encode("utf-8")
    except (CanonicalError, UnicodeEncodeError) as error:
        raise StoreError(f"{field} ({draft.kind}): {error}; nothing was written") from None
    if len(body) > MAX_BODY_BYTES:
        raise StoreError(
            f"{field} ({draft.kind}): its body is {len(body)} bytes canonical, at most {MAX_BODY_BYTES} are kept; nothing was written"
        )
    return PreparedEntry(now, draft.kind.value, draft.operation, draft.principal, sha256(body), body)


def number(entries: Iterable[PreparedEntry], frontier: Frontier) -> tuple[list[EntryRow], list[NodeRow]]:
    """Rows of the entries, numbered and appended to `frontier`, with the inner nodes that became complete."""
    rows: list[EntryRow] = []
    nodes: list[NodeRow] = []
    for item in entries:
        where = (frontier.size, item.time, item.kind, item.operation, item.principal, item.body_sha256)
        leaf = leaf_hash(StoredEntry(*where, {}).leaf_bytes())
        rows.append((*where, item.body, leaf))
        nodes += [made for made in frontier.append(leaf) if made[0] >= STORED_LEVEL]
    return rows, nodes
