"""Invariant 11: the audit log is complete and append-only: a change, gap, reorder, cut or rewrite is found offline against a witnessed checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pysqlite3
import pytest
from tests.grants import Key
from tests.invariants.gate import Gate
from tests.invariants.parties import EMPTY, human

from lockgate.contract.canonical import digest
from lockgate.contract.evidence import Witness
from lockgate.contract.intent import Stage
from lockgate.contract.merkle import Frontier, leaf_hash
from lockgate.contract.runnerapi import LeaseRequest
from lockgate.gateway.audit.entries import StoredEntry
from lockgate.gateway.audit.report import AuditReport, FaultKind
from lockgate.gateway.audit.sources import Trust, verify_file
from lockgate.gateway.store.port import AuditEntries, TreeHead
from lockgate.runner.witness import LogInconsistent, advance


@dataclass
class Copy:
    """A copy of a gateway's store that someone with every right on the file may edit, and what an offline verifier brings."""

    path: Path
    trust: Trust
    witnessed: int

    def edit(self, *statements: str) -> AuditReport:
        db = pysqlite3.connect(str(self.path), isolation_level=None)
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert db.execute(statement).rowcount != 0, statement
        db.close()
        return self.verify()

    def verify(self) -> AuditReport:
        return verify_file(self.path, self.trust)

    def rewrite(self, change: Callable[[StoredEntry], StoredEntry | None]) -> AuditReport:
        """The whole history made anew, consistent in itself: numbers, digests, leaves and head."""
        db = pysqlite3.connect(str(self.path), isolation_level=None)
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        columns = "seq, time, kind, operation, principal, body_sha256, body"
        rows = db.execute(f"SELECT {columns} FROM audit_entry ORDER BY seq").fetchall()
        db.execute("DELETE FROM audit_entry")
        frontier = Frontier()
        for row in rows:
            number, time, kind, operation, principal, body_sha256, body = row
            entry = change(StoredEntry(number, time, kind, operation, principal, body_sha256, orjson.loads(body)))
            if entry is None:
                continue
            seq = frontier.size
            body = entry.body
            made = StoredEntry(seq, entry.time, entry.kind, entry.operation, entry.principal, digest(body), body)
            leaf = leaf_hash(made.leaf_bytes())
            frontier.append(leaf)
            db.execute(
                f"INSERT INTO audit_entry ({columns}, leaf) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row_of(made), leaf),
            )
        db.execute(
            "UPDATE head SET size = ?, root = ?, frontier = ?", (frontier.size, frontier.root(), frontier.to_bytes())
        )
        db.close()
        return self.verify()


def row_of(entry: StoredEntry) -> tuple[Any, ...]:
    return (
        entry.seq,
        entry.time,
        entry.kind,
        entry.operation,
        entry.principal,
        entry.body_sha256,
        orjson.dumps(entry.body),
    )


@pytest.fixture
async def copy(gate: Gate, tmp_path: Path) -> Copy:
    """The store after two operations ran to their end; the runner's last receipt witnesses the log up to then."""
    runner = gate.runner()
    for _ in range(2):
        _, lease = await gate.applied()
        await runner.report(lease, runner.stage(lease, Stage.APPLY), runner.stage(lease, Stage.VERIFY, plan=EMPTY))
        head = await gate.store.read(TreeHead())
        await runner.receipt(lease, witness=Witness(head.size, "sha256:" + head.root.hex()))
    await gate.ask()
    await gate.close()
    path = tmp_path / "copy.db"
    shutil.copyfile(gate.path, path)
    wal = gate.path.with_name(gate.path.name + "-wal")
    if wal.exists():
        shutil.copyfile(wal, tmp_path / "copy.db-wal")
    await gate.open()
    return Copy(path, Trust(gate.keys.root.public, (gate.keys.keyset_envelope,)), head.size)


def kinds(report: AuditReport) -> set[FaultKind]:
    assert not report.ok
    return {fault.kind for fault in report.faults}


async def test_an_untouched_log_is_proven_up_to_the_witness(copy: Copy) -> None:
    report = copy.verify()
    assert report.ok, report.faults
    assert (report.proven, report.proven_size) == (True, copy.witnessed)
    assert report.size > copy.witnessed


async def test_a_changed_body_is_found(copy: Copy) -> None:
    changed = copy.edit("UPDATE audit_entry SET body = CAST('{}' AS BLOB) WHERE seq = 5")
    assert FaultKind.CHANGED in kinds(changed)


@pytest.mark.parametrize(
    "edit", ["time = time + 1", "kind = 'plan.viewed'", "principal = 'nobody'", "operation = 'op'"]
)
async def test_every_other_field_counts_too(copy: Copy, edit: str) -> None:
    assert FaultKind.CHANGED in kinds(copy.edit(f"UPDATE audit_entry SET {edit} WHERE seq = 5"))


async def test_a_gap_is_found(copy: Copy) -> None:
    assert FaultKind.GAP in kinds(copy.edit("DELETE FROM audit_entry WHERE seq = 7"))


async def test_a_reorder_is_found(copy: Copy) -> None:
    report = copy.edit(
        "UPDATE audit_entry SET seq = -1 WHERE seq = 6",
        "UPDATE audit_entry SET seq = 6 WHERE seq = 7",
        "UPDATE audit_entry SET seq = 7 WHERE seq = -1",
    )
    assert FaultKind.CHANGED in kinds(report), "each now stands where the other was"


async def test_a_cut_is_found_though_the_head_was_cut_with_it(copy: Copy) -> None:
    report = copy.rewrite(lambda entry: entry if entry.seq < copy.witnessed - 3 else None)
    assert FaultKind.CUT in kinds(report)


async def test_a_cut_behind_the_witness_is_said_to_be_unproven(copy: Copy) -> None:
    """Nobody but the log itself saw those: the verdict does not claim more than was witnessed."""
    report = copy.rewrite(lambda entry: entry if entry.seq < copy.witnessed else None)
    assert report.ok
    assert f"up to entry {copy.witnessed - 1}" in report.verdict


async def test_a_rewrite_consistent_in_itself_is_found(copy: Copy) -> None:
    def innocent(entry: StoredEntry) -> StoredEntry:
        return StoredEntry(entry.seq, entry.time, entry.kind, entry.operation, "someone else", "", entry.body)

    report = copy.rewrite(innocent)
    assert FaultKind.REWRITTEN in kinds(report)


async def test_an_entry_slipped_out_of_a_rewritten_history_is_found(copy: Copy) -> None:
    report = copy.rewrite(lambda entry: None if entry.seq == 4 else entry)
    assert FaultKind.REWRITTEN in kinds(report)


async def test_without_a_witness_it_says_so(copy: Copy) -> None:
    copy.trust = Trust()
    report = copy.verify()
    assert report.ok
    assert not report.proven
    assert "completeness not proven" in report.verdict


async def test_a_witness_by_a_stranger_counts_for_nothing(copy: Copy) -> None:
    copy.trust = Trust(Key().public, copy.trust.keysets)
    report = copy.verify()
    assert not report.ok
    assert not report.proven


async def test_the_file_itself_refuses_changes_to_what_was_logged(gate: Gate) -> None:
    await gate.ask()
    writer = gate.store._open.db  # type: ignore[union-attr]
    for statement in ("UPDATE audit_entry SET body = X'7B7D'", "DELETE FROM audit_entry"):
        with pytest.raises(pysqlite3.Error):
            writer.execute(statement)


async def test_every_move_of_an_operation_is_an_entry(gate: Gate) -> None:
    """Complete: from the request to the receipt each version of the operation has its entry, and so has every decision."""
    operation, lease = await gate.applied("web-prod")
    runner = gate.runner()
    await runner.report(lease, runner.stage(lease, Stage.APPLY), runner.stage(lease, Stage.VERIFY, plan=EMPTY))
    await runner.receipt(lease)
    await gate.desk.show(human("root", "admin"), operation.id)
    ended = await gate.operation(operation)
    entries = await gate.store.read(AuditEntries(operation=operation.id))
    versions = {entry.body["version"] for entry in entries if "version" in entry.body}
    assert versions | {1} == set(range(1, ended.version + 1))
    said = {entry.kind for entry in entries}
    assert said >= {
        "operation.requested",
        "decision.made",
        "operation.leased",
        "start.committed",
        "manifest.received",
        "plan.recorded",
        "vote.cast",
        "operation.moved",
        "operation.ended",
        "receipt.received",
        "plan.viewed",
    }


async def test_a_runner_takes_no_work_from_a_log_that_was_rewritten(gate: Gate) -> None:
    await gate.ask()
    head = await gate.store.read(TreeHead())
    honest = Witness(head.size, "sha256:" + head.root.hex())
    other = Witness(head.size, "sha256:" + "0" * 64)
    longer = Witness(head.size + 1_000, honest.root)
    await gate.ask()
    for witness, fits in ((honest, True), (other, False), (longer, False)):
        answer = await gate.door.lease(gate.runner().peer, LeaseRequest("f" * 16, (), 0, witness))
        if fits:
            assert advance(gate.keys.keyset, witness, answer).size > head.size
        else:
            with pytest.raises(LogInconsistent):
                advance(gate.keys.keyset, witness, answer)
