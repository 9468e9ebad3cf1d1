"""Invariant 11 at the verifier: a change, gap, reorder, cut and rewrite of a real store's copy are each found, and named."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pysqlite3
import pytest
from tests.grants import Key
from tests.unit.gateway.audit.conftest import Deployment, Log

from lockgate.contract.canonical import canonical, sha256
from lockgate.contract.evidence import Witness
from lockgate.contract.merkle import Frontier, leaf_hash
from lockgate.gateway.audit.checkpoint import root_text
from lockgate.gateway.audit.entries import StoredEntry
from lockgate.gateway.audit.export import export
from lockgate.gateway.audit.report import AuditReport, FaultKind
from lockgate.gateway.audit.sources import Trust, UnreadableLog, verify_file
from lockgate.gateway.store.sqlite import SqliteStore


def tampered(log: Log, *statements: str | tuple[str, tuple[Any, ...]]) -> Path:
    """What someone with the file can do: drop the guards, then anything."""
    database = pysqlite3.connect(log.path, isolation_level=None)
    names = database.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for (name,) in names:
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(*((statement,) if isinstance(statement, str) else statement))
    database.close()
    return log.path


def rewrite_from(log: Log, seq: int, edit: Callable[[dict[str, Any]], None]) -> Path:
    """The best forgery there is: change one body, then recompute digest, leaf, every node and the head."""
    path = tampered(log)
    database = pysqlite3.connect(path, isolation_level=None)
    columns = "seq, time, kind, operation, principal, body_sha256, body"
    frontier = Frontier()
    for row in database.execute(f"SELECT {columns} FROM audit_entry ORDER BY seq").fetchall():
        body = json.loads(row[6])
        if row[0] == seq:
            edit(body)
        seq_found, time, kind, operation, principal = row[:5]
        made = StoredEntry(seq_found, time, kind, operation, principal, sha256(canonical(body)), body)
        leaf = leaf_hash(made.leaf_bytes())
        frontier.append(leaf)
        values = (made.body_sha256, canonical(body), leaf, made.seq)
        database.execute("UPDATE audit_entry SET body_sha256 = ?, body = ?, leaf = ? WHERE seq = ?", values)
    head = (frontier.size, frontier.root(), frontier.to_bytes())
    database.execute("UPDATE head SET size = ?, root = ?, frontier = ?", head)
    database.close()
    return path


def faults(report: AuditReport) -> set[tuple[FaultKind, int | None]]:
    return {(fault.kind, fault.seq) for fault in report.faults}


def test_an_untouched_log_is_proven_up_to_what_was_witnessed(log: Log, deployment: Deployment) -> None:
    report = verify_file(log.path, Trust(deployment.root.public))
    assert (report.ok, report.proven, report.proven_size, report.size, report.witnesses) == (True, True, 31, 42, 1)
    kept = verify_file(log.path, Trust(deployment.root.public, kept=(log.checkpoint,)))
    assert (kept.proven, kept.proven_size) == (True, 42)
    assert "complete up to entry 41" in kept.verdict


def test_without_the_root_key_completeness_is_not_proven(log: Log) -> None:
    report = verify_file(log.path, Trust())
    assert report.ok
    assert not report.proven
    assert report.verdict == "42 entries consistent, completeness not proven"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_entry SET body = CAST('{}' AS BLOB) WHERE seq = 7",
        "UPDATE audit_entry SET body = CAST('not json' AS BLOB) WHERE seq = 7",
        "UPDATE audit_entry SET kind = 'alarm' WHERE seq = 7",
        "UPDATE audit_entry SET time = time + 1 WHERE seq = 7",
        "UPDATE audit_entry SET principal = NULL WHERE seq = 7",
        "UPDATE audit_entry SET operation = 'op-9' WHERE seq = 7",
        "UPDATE audit_entry SET leaf = x'00' WHERE seq = 7",
    ],
)
def test_a_changed_entry_is_found_and_named(log: Log, change: str) -> None:
    report = verify_file(tampered(log, change), Trust())
    assert not report.ok
    assert (FaultKind.CHANGED, 7) in faults(report)


def test_one_changed_entry_is_one_fault(log: Log, deployment: Deployment) -> None:
    path = tampered(log, "UPDATE audit_entry SET body = CAST('{}' AS BLOB) WHERE seq = 7")
    assert faults(verify_file(path, Trust(deployment.root.public))) == {(FaultKind.CHANGED, 7)}


def test_columns_of_another_type_are_a_fault_not_a_crash(log: Log, deployment: Deployment) -> None:
    lax = (
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name IN ('audit_entry', 'envelope')",
        "PRAGMA writable_schema = RESET",
    )
    odd = ("UPDATE audit_entry SET leaf = 'text', kind = x'ff' WHERE seq = 7", "UPDATE envelope SET envelope = 'text'")
    found = faults(verify_file(tampered(log, *lax, *odd), Trust(deployment.root.public)))
    assert {(FaultKind.CHANGED, 7), (FaultKind.SIGNATURE, None)} <= found


def test_a_gap_is_found_and_named(log: Log, deployment: Deployment) -> None:
    report = verify_file(tampered(log, "DELETE FROM audit_entry WHERE seq IN (5, 6)"), Trust(deployment.root.public))
    assert faults(report) == {(FaultKind.GAP, 5)}
    assert "entries 5 to 6 are missing" in report.faults[0].message


def test_entries_that_changed_places_are_found(log: Log) -> None:
    swap = (
        "UPDATE audit_entry SET seq = -1 WHERE seq = 5",
        "UPDATE audit_entry SET seq = 5 WHERE seq = 6",
        "UPDATE audit_entry SET seq = 6 WHERE seq = -1",
    )
    report = verify_file(tampered(log, *swap), Trust())
    assert {(FaultKind.CHANGED, 5), (FaultKind.CHANGED, 6)} <= faults(report)


def test_a_cut_behind_the_log_s_own_head_is_found(log: Log) -> None:
    report = verify_file(tampered(log, "DELETE FROM audit_entry WHERE seq >= 40"), Trust())
    assert faults(report) == {(FaultKind.CUT, 40)}


def cut_to(log: Log, size: int) -> Path:
    """Cut the log and make its head agree."""
    database = pysqlite3.connect(log.path)
    frontier = Frontier()
    for (leaf,) in database.execute("SELECT leaf FROM audit_entry WHERE seq < ? ORDER BY seq", (size,)).fetchall():
        frontier.append(leaf)
    database.close()
    head = ("UPDATE head SET size = ?, root = ?, frontier = ?", (size, frontier.root(), frontier.to_bytes()))
    return tampered(log, f"DELETE FROM audit_entry WHERE seq >= {size}", head)


def test_a_cut_below_what_was_witnessed_is_found_whatever_the_head_says(log: Log, deployment: Deployment) -> None:
    path = cut_to(log, 30)
    assert verify_file(path, Trust()).verdict == "30 entries consistent, completeness not proven"
    report = verify_file(path, Trust(deployment.root.public))
    assert faults(report) == {(FaultKind.CUT, 30)}
    assert "receipt" in report.faults[0].message


def test_a_cut_above_what_was_witnessed_is_found_by_a_checkpoint_kept_outside(log: Log, deployment: Deployment) -> None:
    path = cut_to(log, 36)
    assert verify_file(path, Trust(deployment.root.public)).ok
    report = verify_file(path, Trust(deployment.root.public, kept=(log.checkpoint,)))
    assert faults(report) == {(FaultKind.CUT, 36)}


def test_a_rewrite_is_found_only_against_a_witness(log: Log, deployment: Deployment) -> None:
    path = rewrite_from(log, 9, lambda body: body.update(action="something_harmless"))
    unwitnessed = verify_file(path, Trust())
    assert unwitnessed.ok
    assert not unwitnessed.proven
    report = verify_file(path, Trust(deployment.root.public))
    assert faults(report) == {(FaultKind.REWRITTEN, 0)}
    assert not report.proven


def test_a_rewrite_behind_the_last_agreement_names_the_range(log: Log, deployment: Deployment) -> None:
    path = rewrite_from(log, 35, lambda body: body.update(action="something_harmless"))
    report = verify_file(path, Trust(deployment.root.public, kept=(log.checkpoint,)))
    assert faults(report) == {(FaultKind.REWRITTEN, 31)}
    assert "entries 31 to 41" in report.faults[0].message


@pytest.mark.parametrize("role", ["log", "stranger"])
def test_a_witness_not_signed_by_a_runner_is_a_fault(log: Log, deployment: Deployment, role: str) -> None:
    forged = deployment.receipt(Witness(1, root_text(b"\0" * 32)), deployment.log if role == "log" else Key("stranger"))
    path = tampered(log, ("UPDATE envelope SET envelope = ?", (forged,)))
    assert faults(verify_file(path, Trust(deployment.root.public))) == {(FaultKind.SIGNATURE, None)}


def test_a_keyset_under_another_root_is_a_fault(log: Log) -> None:
    report = verify_file(log.path, Trust(Key("another root").public))
    assert (FaultKind.SIGNATURE, None) in faults(report)
    assert not report.proven


def test_a_copy_with_its_write_ahead_log_counts_what_is_in_it(log: Log, tmp_path: Path, deployment: Deployment) -> None:
    database = pysqlite3.connect(log.path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE later (x)")
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("store.db", "store.db-wal"):
        shutil.copyfile(log.path.with_name(name), folder / name)
    database.close()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert verify_file(folder / "store.db", Trust(deployment.root.public)).proven
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


async def exported(log: Log, path: Path, deployment: Deployment) -> list[dict[str, Any]]:
    store = SqliteStore(log.path)
    await store.migrate()
    keysets, checkpoints = (deployment.keyset_envelope(),), (log.checkpoint,)
    path.write_bytes(b"".join([line async for line in export(store, keysets=keysets, checkpoints=checkpoints)]))
    await store.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_an_export_verifies_like_the_store(log: Log, tmp_path: Path, deployment: Deployment) -> None:
    path = tmp_path / "log.jsonl"
    await exported(log, path, deployment)
    there, here = (verify_file(item, Trust(deployment.root.public)) for item in (log.path, path))
    assert (here.root, here.size, here.proven_size, here.checkpoints) == (there.root, there.size, 31, 1)
    assert here.proven


EDITS: dict[str, tuple[Callable[[list[dict[str, Any]]], object], tuple[FaultKind, int | None]]] = {
    "changed": (lambda lines: lines[9]["entry"]["body"].update(x=1), (FaultKind.CHANGED, 6)),
    "gap": (lambda lines: lines.pop(9), (FaultKind.GAP, 6)),
    "reordered": (lambda lines: lines.insert(9, lines.pop(10)), (FaultKind.REORDERED, 6)),
    "cut": (lambda lines: lines.pop(-2), (FaultKind.CUT, 41)),
    "twice": (lambda lines: lines.insert(9, lines[9]), (FaultKind.REORDERED, 6)),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_an_export_that_was_edited_is_found(log: Log, tmp_path: Path, deployment: Deployment, edit: str) -> None:
    path = tmp_path / "log.jsonl"
    lines = await exported(log, path, deployment)
    # The operation's receipt stands among the first entries; leave it out of the count.
    lines = [line for line in lines if line["type"] != "envelope"]
    change, expected = EDITS[edit]
    change(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert expected in faults(verify_file(path, Trust(deployment.root.public)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "neither"),
        (b'{"type":"entry"}\n', "neither"),
        (b'{"type":"start","format":"lockgate.audit.export.v1"}\n', "breaks off"),
        (b'{"type":"start","format":"lockgate.audit.export.v1"}\n{"type":"en', "line 2"),
        (b'{"type":"start","format":"lockgate.audit.export.v1"}\n{"type":"end","size":1}\n', "size and root"),
        (b"[" * 100_000, "line 1"),
        (b"SQLite format 3\x00" + b"x" * 5000, "file"),
    ],
)
def test_a_file_that_is_no_log_is_unreadable(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(text)
    with pytest.raises(UnreadableLog, match=message):
        verify_file(path, Trust())


def test_an_envelope_line_that_is_no_base64_is_a_fault(tmp_path: Path, deployment: Deployment) -> None:
    path = tmp_path / "log.jsonl"
    lines = [
        {"type": "start", "format": "lockgate.audit.export.v1"},
        {"type": "keyset", "envelope": base64.b64encode(deployment.keyset_envelope()).decode()},
        {"type": "envelope", "envelope": "%%%"},
        {"type": "end", "size": 0, "root": ""},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert faults(verify_file(path, Trust(deployment.root.public))) == {(FaultKind.SIGNATURE, None)}
