"""Streams the whole log as JSON lines that `verify_file` reads, page by page; it must not hold more than a page."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from lockgate.contract.codec import to_document
from lockgate.gateway.audit.entries import EntryKind, StoredEntry
from lockgate.gateway.audit.sources import EXPORT_FORMAT
from lockgate.gateway.store.port import AuditEntries, EnvelopesOf, LeafHashes, Store, TreeHead

PAGE = 500


async def export(
    store: Store, *, keysets: Sequence[bytes] = (), checkpoints: Sequence[bytes] = ()
) -> AsyncIterator[bytes]:
    """Lines of the log up to where it is when the export ends: start, keysets, checkpoints, entries, signed evidence, end. Raises StoreError."""
    yield _line("start", format=EXPORT_FORMAT)
    for name, envelopes in (("keyset", keysets), ("checkpoint", checkpoints)):
        for envelope in envelopes:
            yield _line(name, envelope=_text(envelope))
    done, head = 0, await store.read(TreeHead())
    while done < head.size:
        end = min(done + PAGE, head.size)
        page = await store.read(AuditEntries(since=done, limit=end - done))
        leaves = await store.read(LeafHashes(done, end))
        for item, leaf in zip(page, leaves, strict=True):
            yield _line("entry", entry=to_document(item), leaf=leaf.hex())
            async for line in _evidence(store, item):
                yield line
        # Evidence read just now may witness entries written since: the export ends where the log does.
        done, head = end, await store.read(TreeHead())
    yield _line("end", size=head.size, root=head.root.hex())


async def _evidence(store: Store, item: StoredEntry) -> AsyncIterator[bytes]:
    """The envelopes of an operation, behind the entry that began it."""
    if item.kind == EntryKind.OPERATION_REQUESTED.value and item.operation is not None:
        for record in await store.read(EnvelopesOf(item.operation)):
            if record.kind == "receipt" or record.kind.startswith("manifest"):
                yield _line("envelope", operation=record.operation, envelope=_text(record.envelope))


def _line(name: str, **content: Any) -> bytes:
    return orjson.dumps({"type": name, **content}) + b"\n"


def _text(envelope: bytes) -> str:
    return base64.b64encode(envelope).decode()
