"""Decisions as rows: written inside the writer's transaction, read in pages, forgotten oldest first; it must not commit, nor decide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from lockgate.gateway.operations.inputs import KeptInput, SharedPart
from lockgate.gateway.operations.model import DecisionRecord
from lockgate.gateway.store.decisions import (
    MAX_DECISIONS,
    MAX_PAGE_BYTES,
    Decisions,
    DecisionsOf,
    Forget,
    GetBundle,
    GetDecision,
    KeepBundle,
    OldestKept,
)
from lockgate.gateway.store.errors import StoreError
from lockgate.gateway.store.sqlite.bulk import insert
from lockgate.gateway.store.sqlite.connection import Connection

Row = tuple[Any, ...]
_COLUMNS: Final = "id, operation, tenant, at, question, allow, document, input, part, cut, pointers"
_READ: Final = "id, operation, tenant, at, question, allow, document, {}, d.part, cut, pointers"
_INPUT: Final = "input, (SELECT packed FROM decision_part WHERE sha256 = d.part)"


def decision_row(record: DecisionRecord) -> Row:
    """The columns of `decision` after `ordinal`. Raises StoreError for what JSON cannot hold."""
    try:
        document = orjson.dumps(record.document)
    except orjson.JSONEncodeError as error:
        raise StoreError(f"DecisionRecord: cannot be stored: {error}") from None
    kept, shared = record.input, record.input.part if record.input is not None else None
    pointers = None
    if record.hidden or record.masked:
        pointers = orjson.dumps({"hidden": record.hidden, "masked": record.masked}).decode()
    return (
        record.id,
        record.operation,
        record.tenant,
        record.at,
        record.question,
        int(record.allow),
        document,
        kept.head + kept.tail if kept is not None else None,
        shared.sha256 if shared is not None else None,
        len(kept.head) if kept is not None and shared is not None else None,
        pointers,
    )


def insert_decisions(db: Connection, records: Iterable[DecisionRecord], rows: Sequence[Row]) -> None:
    """Each input's shared part before the records that name it. Raises the database's errors."""
    for record in records:
        if record.input is not None and record.input.part is not None:
            part = record.input.part
            db.execute(
                "INSERT INTO decision_part (sha256, packed) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (part.sha256, part.packed),
            )
    insert(db, f"decision ({_COLUMNS})", rows)


# --- forgetting -----------------------------------------------------------------------------------------------------------------


def forget(db: Connection, command: Forget) -> None:
    """Inputs first, then whole records; what no record shares any more goes with them."""
    limit = max(1, command.limit)
    (since,) = db.execute("SELECT inputs_since FROM retention").fetchone()
    found = db.execute(
        "SELECT ordinal, part, at FROM decision WHERE at >= ? AND at < ? AND input IS NOT NULL ORDER BY at, ordinal LIMIT ?",
        (since, command.inputs_before, limit),
    ).fetchall()
    db.executemany(
        "UPDATE decision SET input = NULL, part = NULL, cut = NULL WHERE ordinal = ?", [(row[0],) for row in found]
    )
    # The limit may have cut between decisions of one moment: that moment is looked at again.
    done = command.inputs_before if len(found) < limit else found[-1][2]
    db.execute("UPDATE retention SET inputs_since = max(inputs_since, ?)", (done,))
    gone = db.execute(
        "SELECT ordinal, part FROM decision WHERE at < ? ORDER BY at, ordinal LIMIT ?", (command.records_before, limit)
    ).fetchall()
    db.executemany("DELETE FROM decision WHERE ordinal = ?", [(row[0],) for row in gone])
    parts = {row[1] for row in (*found, *gone)} - {None}
    db.executemany(
        "DELETE FROM decision_part WHERE sha256 = ?1 AND NOT EXISTS (SELECT 1 FROM decision WHERE part = ?1)",
        [(part,) for part in sorted(parts)],
    )


def keep_bundle(db: Connection, command: KeepBundle) -> None:
    """The newest use of a revision counts; beyond `most` the ones longest unused go."""
    db.execute(
        "INSERT INTO policy_bundle (revision, at, packed) VALUES (?, ?, ?)"
        " ON CONFLICT (revision) DO UPDATE SET at = excluded.at",
        (command.revision, command.now, command.packed),
    )
    db.execute(
        "DELETE FROM policy_bundle WHERE revision IN"
        " (SELECT revision FROM policy_bundle ORDER BY at DESC, revision = ? DESC LIMIT -1 OFFSET ?)",
        (command.revision, max(1, command.most)),
    )


# --- reading --------------------------------------------------------------------------------------------------------------------


def get_decision(db: Connection, query: GetDecision) -> DecisionRecord | None:
    """See the query. Raises StoreError when the row is not of this program's making."""
    row = db.execute(f"SELECT {_READ.format(_INPUT)} FROM decision AS d WHERE id = ?", (query.id,)).fetchone()  # noqa: S608
    return None if row is None else _record(row)


def decisions_of(db: Connection, query: DecisionsOf) -> tuple[DecisionRecord, ...]:
    """See the query."""
    sql = f"SELECT {_READ.format(_INPUT)} FROM decision AS d WHERE operation = ? ORDER BY ordinal"  # noqa: S608
    return tuple(_record(row) for row in db.execute(sql, (query.operation,)).fetchall())


def decisions(db: Connection, query: Decisions) -> tuple[DecisionRecord, ...]:
    """See the query."""
    where: list[str] = ["at >= ?"]
    values: list[Any] = [query.since]
    for condition, value in (
        ("at < ?", query.until),
        ("tenant = ?", query.tenant),
        ("operation = ?", query.operation),
        ("allow = ?", query.allow),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    if query.questions:
        where.append(f"question IN ({', '.join('?' * len(query.questions))})")
        values += query.questions
    if query.after is not None:
        past = "<" if query.newest else ">"
        where.append(f"(at, ordinal) {past} (SELECT at, ordinal FROM decision WHERE id = ?)")  # noqa: S608
        values.append(query.after)
    turn = "DESC" if query.newest else "ASC"
    sql = (
        f"SELECT {_READ.format(_INPUT if query.inputs else 'NULL, NULL')} FROM decision AS d"  # noqa: S608
        f" WHERE {' AND '.join(where)} ORDER BY at {turn}, ordinal {turn} LIMIT ?"
    )
    page: list[DecisionRecord] = []
    size = 0
    cursor = db.execute(sql, (*values, max(1, min(query.limit, MAX_DECISIONS))))
    for row in cursor:
        page.append(_record(row))
        size += sum(len(part) for part in row[7:9] if part is not None)
        if size > MAX_PAGE_BYTES:
            break
    cursor.close()
    return tuple(page)


def get_bundle(db: Connection, query: GetBundle) -> bytes | None:
    """See the query."""
    row = db.execute("SELECT packed FROM policy_bundle WHERE revision = ?", (query.revision,)).fetchone()
    return None if row is None else bytes(row[0])


def oldest_kept(db: Connection, _: OldestKept) -> tuple[int | None, int | None]:
    """See the query."""
    row = db.execute(
        "SELECT (SELECT min(at) FROM decision WHERE at >= (SELECT inputs_since FROM retention)), (SELECT min(at) FROM decision)"
    ).fetchone()
    return row[0], row[1]


def _record(row: Row) -> DecisionRecord:
    name, operation, tenant, at, question, allow, document, data, packed, part, cut, pointers = row
    try:
        said = orjson.loads(pointers) if pointers is not None else {"hidden": [], "masked": []}
        hidden, masked = _texts(said["hidden"]), _texts(said["masked"])
        found = orjson.loads(document)
        if not isinstance(found, dict) or "revision" not in found:
            raise ValueError("its document is no decision")
        kept = _input(data, packed, part, cut)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"store: the stored decision {name} is unreadable: {error}") from None
    return DecisionRecord(name, tenant, operation, question, bool(allow), found, kept, at, hidden, masked)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value)


def _input(data: bytes | None, packed: bytes | None, part: str | None, cut: int | None) -> KeptInput | None:
    if data is None or part is None or cut is None:
        return None if data is None else KeptInput(data)
    return KeptInput(data[:cut], SharedPart(part, packed or b""), data[cut:])
