"""Reads a log for verification: a copy of the store's file, or an export. It must not write to either, nor believe a line of it."""

from __future__ import annotations

import base64
import binascii
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from lockgate.contract.codec import DocumentError, from_document
from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.keyset import Keyset
from lockgate.contract.strictjson import StrictJSONError, loads
from lockgate.gateway.audit.claims import Claim, historic_keyset
from lockgate.gateway.audit.entries import EntryKind, StoredEntry
from lockgate.gateway.audit.report import AuditReport, Fault, FaultKind
from lockgate.gateway.audit.verify import Evidence, LoggedEntry, verify
from lockgate.gateway.store.port import StoreError
from lockgate.gateway.store.sqlite.connection import Connection, DatabaseError, open_copy

MAX_LINE = 4 << 20
EXPORT_FORMAT = "lockgate.audit.export.v1"
OWN_HEAD = "the log's own head"


class UnreadableLog(ValueError):
    """The file is neither a store nor an export, or it breaks off; the message says where."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What the verifier brings: the pinned root key (32 raw bytes), keyset envelopes beside those in the log, checkpoints it kept itself."""

    root: bytes | None = None
    keysets: tuple[bytes, ...] = ()
    kept: tuple[bytes, ...] = ()


def verify_file(path: Path, trust: Trust) -> AuditReport:
    """Verify a copy of a store (with its `-wal` file if there is one) or an export. Raises UnreadableLog."""
    with path.open("rb") as file:
        is_store = file.read(16) == b"SQLite format 3\x00"
    try:
        return _verify_store(path, trust) if is_store else _verify_export(path, trust)
    except (DatabaseError, StoreError, orjson.JSONDecodeError) as error:
        raise UnreadableLog(f"{path.name}: {error}") from None


def _keysets(found: Iterable[bytes], trust: Trust) -> tuple[list[Keyset], list[Fault]]:
    """Keysets that stand under the pinned root; those in the log that do not are faults. Without a root none is believed."""
    keysets: list[Keyset] = []
    faults: list[Fault] = []
    if trust.root is None:
        return keysets, faults
    for envelope in (*trust.keysets, *found):
        try:
            keysets.append(historic_keyset(envelope, trust.root))
        except EnvelopeError as error:
            faults.append(Fault(FaultKind.SIGNATURE, None, f"a keyset is not signed by the pinned root key: {error}"))
    return keysets, faults


def _with(report: AuditReport, faults: list[Fault]) -> AuditReport:
    return AuditReport(
        report.size,
        report.root,
        report.checkpoints,
        report.witnesses,
        report.proven_size,
        (*faults, *report.faults),
        report.fault_count + len(faults),
    )


# --- a copy of the store --------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[Connection]:
    """The copy as it lies there; with a write-ahead log beside it a second copy is made, in which SQLite may replay it."""
    wal = path.with_name(path.name + "-wal")
    with tempfile.TemporaryDirectory(prefix="lockgate-verify-") as folder:
        if wal.exists() and wal.stat().st_size:
            path = Path(shutil.copyfile(path, Path(folder) / "copy"))
            shutil.copyfile(wal, path.with_name("copy-wal"))
            db = open_copy(path, replay=True)
        else:
            db = open_copy(path)
        try:
            yield db
        finally:
            db.close()


def _verify_store(path: Path, trust: Trust) -> AuditReport:
    with _opened(path) as db:
        known = "SELECT body FROM audit_entry WHERE kind = ?"
        bodies = db.execute(known, (EntryKind.KEYSET_LOADED.value,)).fetchall()
        keysets, faults = _keysets(_keyset_envelopes(orjson.loads(row[0]) for row in bodies), trust)
        size, root = db.execute("SELECT size, root FROM head").fetchone() or (None, None)
        if type(size) is not int or type(root) is not bytes:
            raise UnreadableLog(f"{path.name}: the log's head is missing or malformed")
        sql = "SELECT envelope FROM envelope WHERE kind = 'receipt' OR kind LIKE 'manifest%' ORDER BY ordinal"
        envelopes = (_blob(row[0]) for row in db.execute(sql)) if keysets else ()
        evidence = Evidence(keysets, envelopes, trust.kept, Claim(size, root, OWN_HEAD, False))
        return _with(verify(_store_entries(db), evidence), faults)


def _store_entries(db: Connection) -> Iterator[LoggedEntry]:
    sql = "SELECT seq, time, kind, operation, principal, body_sha256, body, leaf FROM audit_entry ORDER BY seq"
    for seq, time, kind, operation, principal, body_sha256, body, leaf in db.execute(sql):
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            value = None
        yield LoggedEntry(StoredEntry(seq, time, kind, operation, principal, body_sha256, value), _blob(leaf))


def _blob(value: object) -> bytes:
    """A column's bytes; someone who rewrote the schema may have put anything there, and no hash fits nothing."""
    return value if isinstance(value, bytes) else b""


def _keyset_envelopes(bodies: Iterable[Any]) -> Iterator[bytes]:
    """A `keyset.loaded` entry carries the keyset's envelope text as `envelope`."""
    for body in bodies:
        text = body.get("envelope") if isinstance(body, dict) else None
        if isinstance(text, str):
            yield text.encode()


# --- an export ------------------------------------------------------------------------------------------------------------------


def _verify_export(path: Path, trust: Trust) -> AuditReport:
    """Several passes over the file, each in bounded memory: keysets, then envelopes while entries stream."""
    head = _check_frame(path)
    found = [_bytes(line["envelope"]) for line in _lines(path, "keyset")]
    logged = _keyset_envelopes(
        line["entry"].get("body")
        for line in _lines(path, "entry")
        if isinstance(line.get("entry"), dict) and line["entry"].get("kind") == EntryKind.KEYSET_LOADED.value
    )
    keysets, faults = _keysets((*found, *logged), trust)
    envelopes = (_bytes(line["envelope"]) for line in _lines(path, "envelope", "checkpoint")) if keysets else ()
    return _with(verify(_export_entries(path), Evidence(keysets, envelopes, trust.kept, head)), faults)


def _check_frame(path: Path) -> Claim:
    first = last = None
    for line in _lines(path):
        first = line if first is None else first
        last = line
    if first is None or first.get("type") != "start" or first.get("format") != EXPORT_FORMAT:
        raise UnreadableLog(f"{path.name}: is neither a store nor an export in the format {EXPORT_FORMAT}")
    if last is None or last.get("type") != "end":
        raise UnreadableLog(f"{path.name}: breaks off before its end line; export it again")
    try:
        size, root = last["size"], bytes.fromhex(last["root"])
    except (KeyError, TypeError, ValueError):
        raise UnreadableLog(f"{path.name}: its end line must have size and root") from None
    if type(size) is not int:
        raise UnreadableLog(f"{path.name}: size in its end line must be a number")
    return Claim(size, root, OWN_HEAD, False)


def _export_entries(path: Path) -> Iterator[LoggedEntry]:
    for line in _lines(path, "entry"):
        try:
            yield LoggedEntry(from_document(StoredEntry, line.get("entry"), "entry"), bytes.fromhex(line["leaf"]))
        except (DocumentError, KeyError, TypeError, ValueError) as error:
            raise UnreadableLog(f"{path.name}: an entry is unreadable: {error}") from None


def _lines(path: Path, *types: str) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            try:
                value = loads(line, max_bytes=MAX_LINE, max_depth=64)
            except StrictJSONError as error:
                raise UnreadableLog(f"{path.name}: line {number}: {error}") from None
            if not isinstance(value, dict):
                raise UnreadableLog(f"{path.name}: line {number}: must be an object")
            if not types or value.get("type") in types:
                yield value


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except (binascii.Error, ValueError):
        return b""
