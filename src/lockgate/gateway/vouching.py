"""Holds recorded decisions to what the audit log says of them; it must not believe a record for itself, nor prove the log: `audit verify` does that."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

from lockgate.contract.canonical import digest
from lockgate.gateway.audit.entries import EntryKind, StoredEntry
from lockgate.gateway.operations.model import DecisionRecord
from lockgate.gateway.store.port import AuditEntries, Store

_PAGE: Final = 500
_MAX_OPERATIONS: Final = 64
"""Operations whose entries are remembered at once: decisions come in the order of time, so that one operation's are near each other."""

Entries = dict[str, StoredEntry]


@dataclass(slots=True)
class Log:
    """The entries `decision.made` of a store, looked up by the decision they name."""

    store: Store
    _of: OrderedDict[str, Entries] = field(default_factory=OrderedDict)
    _of_none: Entries | None = None

    async def says(self, record: DecisionRecord) -> str:
        """Why a record is not what the log says was decided; "" if it is. Raises StoreError."""
        return altered(record, (await self._entries(record.operation)).get(record.id))

    async def _entries(self, operation: str | None) -> Entries:
        if operation is None:
            # Few decisions are about no operation, and there is no shorter way to them than through the log, once.
            if self._of_none is None:
                self._of_none = await self._read(AuditEntries(kind=_KIND, limit=_PAGE), alone=True)
            return self._of_none
        if operation not in self._of:
            while len(self._of) >= _MAX_OPERATIONS:
                self._of.popitem(last=False)
            self._of[operation] = await self._read(AuditEntries(operation=operation, kind=_KIND, limit=_PAGE))
        self._of.move_to_end(operation)
        return self._of[operation]

    async def _read(self, query: AuditEntries, *, alone: bool = False) -> Entries:
        found: Entries = {}
        since = 0
        while page := await self.store.read(AuditEntries(since, query.limit, query.operation, kind=query.kind)):
            for entry in page:
                if not (alone and entry.operation is not None):
                    found.setdefault(str(entry.body.get("decision")), entry)
            since = page[-1].seq + 1
        return found


def altered(record: DecisionRecord, entry: StoredEntry | None) -> str:
    """Why `record` is not the one that was written with `entry`; "" if it is."""
    if entry is None:
        return "the audit log has no entry of this decision"
    if digest(entry.body) != entry.body_sha256:
        return f"entry {entry.seq} of the audit log, which speaks of it, was itself changed: lockgate audit verify"
    said = entry.body  # of an earlier version it may say less, and nobody can take a field out of it unnoticed
    wrong = [name for name, value in _told(record).items() if name in said and said[name] != value]
    if record.input is not None and record.masked and said.get("kept_sha256") != record.input.sha256:
        wrong.append("input")
    if not wrong:
        return ""
    return f"it is not what entry {entry.seq} of the audit log says was decided: {', '.join(wrong)}"


def _told(record: DecisionRecord) -> dict[str, Any]:
    """What the entry of a decision says, out of its record; `record_sha256` is of everything, the others are for words."""
    said = record.document
    violations = said.get("violations")
    rules = [item.get("rule") for item in violations if isinstance(item, dict)] if isinstance(violations, list) else []
    return {
        "question": record.question,
        "allow": record.allow,
        "rules": rules,
        "revision": record.revision,
        "input_sha256": said.get("input_sha256"),
        "engine": said.get("engine"),
        "record_sha256": record.sha256,
    }


_KIND: Final = EntryKind.DECISION_MADE.value
