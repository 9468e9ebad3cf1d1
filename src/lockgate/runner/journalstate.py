"""What a runner must not forget, as a fold over small records; pure, and the only place where such a record gets a meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from lockgate.contract.evidence import Witness

MAX_SEEN: Final = 100_000
"""Attempts remembered against replay. An older grant has long expired."""

Record = dict[str, Any]


class RecordRefused(ValueError):
    """A record contradicts what is known, or is none: it is not applied."""


@dataclass(slots=True)
class JournaledCredential:
    """One credential's life as far as it is known; `accessor` is None between intent and issue, when a crash may have hidden it."""

    attempt: str
    scope: str
    accessor: str | None


@dataclass(slots=True)
class OpenAttempt:
    """An attempt whose receipt the gateway does not have yet. `grant` is the grant's envelope, `sandboxes` those not proven gone.

    `gone` and `revoked` are the ends that were seen: the receipt must name them too. `proven`: whether the receipt proves the end of everything. `told`: the
    gateway has a receipt that does not, and is told again once there is one that does. `places`: by sandbox, where its provider says that it was put.
    """

    attempt: str
    grant: str
    sandboxes: set[str] = field(default_factory=set)
    credentials: list[JournaledCredential] = field(default_factory=list)
    receipt: str | None = None
    proven: bool = True
    told: bool = False
    gone: set[str] = field(default_factory=set)
    places: dict[str, dict[str, str]] = field(default_factory=dict)
    revoked: list[JournaledCredential] = field(default_factory=list)


@dataclass(slots=True)
class JournalState:
    """All that is remembered. `seen` keeps insertion order, so that the oldest can be dropped."""

    seen: dict[str, None] = field(default_factory=dict)
    open: dict[str, OpenAttempt] = field(default_factory=dict)
    witness: Witness | None = None

    def apply(self, record: Record) -> None:
        """Take one record in. Raises RecordRefused and changes nothing."""
        kind = record.get("k")
        apply = _APPLY.get(kind) if isinstance(kind, str) else None
        if apply is None:
            raise RecordRefused(f"unknown kind of record {str(kind)[:40]!r}")
        try:
            apply(self, record)
        except (KeyError, TypeError) as error:
            raise RecordRefused(f"the record {kind} is malformed: {error}") from None

    def records(self) -> list[Record]:
        """The fewest records that lead to this state."""
        found: list[Record] = [{"k": "seen", "attempt": attempt} for attempt in self.seen if attempt not in self.open]
        for entry in self.open.values():
            found.append({"k": "attempt", "attempt": entry.attempt, "grant": entry.grant})
            for box in sorted(entry.gone):
                found += [{"k": "box", "attempt": entry.attempt, "id": box}, {"k": "gone", "id": box}]
            for item in entry.revoked:
                issued = {"k": "issued", "attempt": entry.attempt, "scope": item.scope, "accessor": item.accessor}
                found += [issued, {"k": "revoked", "accessor": item.accessor}]
            found += [{"k": "box", "attempt": entry.attempt, "id": box} for box in sorted(entry.sandboxes)]
            for box, place in sorted(entry.places.items()):
                found.append({"k": "placed", "id": box, "place": place})
            for item in entry.credentials:
                found.append({"k": "intended", "attempt": entry.attempt, "scope": item.scope})
                if item.accessor is not None:
                    found.append(
                        {"k": "issued", "attempt": entry.attempt, "scope": item.scope, "accessor": item.accessor}
                    )
            if entry.told:
                found.append({"k": "told", "attempt": entry.attempt})
            if entry.receipt is not None:
                found.append(
                    {"k": "receipt", "attempt": entry.attempt, "receipt": entry.receipt, "proven": entry.proven}
                )
        if self.witness is not None:
            found.append({"k": "witness", "size": self.witness.size, "root": self.witness.root})
        return found

    def _opened(self, record: Record) -> OpenAttempt:
        attempt = self.open.get(record["attempt"])
        if attempt is None:
            raise RecordRefused(f"the attempt {str(record['attempt'])[:80]!r} is not open")
        return attempt

    def _seen(self, record: Record) -> None:
        attempt = _text(record["attempt"])
        if attempt in self.seen:
            raise RecordRefused(f"the attempt {attempt[:80]!r} was seen before")
        self.seen[attempt] = None
        while len(self.seen) > MAX_SEEN:
            oldest = next((item for item in self.seen if item not in self.open), attempt)
            del self.seen[oldest]

    def _attempt(self, record: Record) -> None:
        grant = _text(record["grant"])
        self._seen(record)
        self.open[record["attempt"]] = OpenAttempt(record["attempt"], grant)

    def _box(self, record: Record) -> None:
        self._opened(record).sandboxes.add(_text(record["id"]))

    def _gone(self, record: Record) -> None:
        for attempt in self.open.values():
            if _text(record["id"]) in attempt.sandboxes:
                attempt.sandboxes.remove(record["id"])
                attempt.gone.add(record["id"])

    def _placed(self, record: Record) -> None:
        box, place = _text(record["id"]), record["place"]
        if not isinstance(place, dict) or not all(isinstance(value, str) for value in place.values()):
            raise TypeError("a place is texts by name")
        for attempt in self.open.values():
            if box in attempt.sandboxes or box in attempt.gone:
                attempt.places[box] = dict(place)

    def _intended(self, record: Record) -> None:
        self._opened(record).credentials.append(JournaledCredential(record["attempt"], _text(record["scope"]), None))

    def _issued(self, record: Record) -> None:
        accessor = _text(record["accessor"])
        for item in self._opened(record).credentials:
            if item.accessor is None and item.scope == record["scope"]:
                item.accessor = accessor
                return
        self._opened(record).credentials.append(
            JournaledCredential(record["attempt"], _text(record["scope"]), accessor)
        )

    def _unissued(self, record: Record) -> None:
        attempt = self._opened(record)
        for item in attempt.credentials:
            if item.accessor is None and item.scope == record["scope"]:
                attempt.credentials.remove(item)
                return

    def _revoked(self, record: Record) -> None:
        accessor = _text(record["accessor"])
        for attempt in self.open.values():
            attempt.revoked += [item for item in attempt.credentials if item.accessor == accessor]
            attempt.credentials = [item for item in attempt.credentials if item.accessor != accessor]

    def _receipt(self, record: Record) -> None:
        attempt = self._opened(record)
        attempt.receipt, attempt.proven = _text(record["receipt"]), record.get("proven") is not False

    def _told(self, record: Record) -> None:
        attempt = self._opened(record)
        attempt.receipt, attempt.proven, attempt.told = None, True, True

    def _ended(self, record: Record) -> None:
        self.open.pop(_text(record["attempt"]), None)

    def _witness(self, record: Record) -> None:
        witness = Witness(record["size"], _text(record["root"]))
        if type(witness.size) is not int or (self.witness is not None and witness.size < self.witness.size):
            raise RecordRefused("a witnessed checkpoint never gets smaller")
        self.witness = witness


_APPLY: Final = {
    "seen": JournalState._seen,
    "attempt": JournalState._attempt,
    "box": JournalState._box,
    "gone": JournalState._gone,
    "placed": JournalState._placed,
    "intended": JournalState._intended,
    "issued": JournalState._issued,
    "unissued": JournalState._unissued,
    "revoked": JournalState._revoked,
    "receipt": JournalState._receipt,
    "told": JournalState._told,
    "ended": JournalState._ended,
    "witness": JournalState._witness,
}


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a text is missing")
    return value
