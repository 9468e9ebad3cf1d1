import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockgate.contract.evidence import Witness
from lockgate.runner import journal as journalling
from lockgate.runner import journalstate
from lockgate.runner.journal import SLACK, Journal, JournalError

W1, W2 = Witness(1, "sha256:" + "1" * 64), Witness(2, "sha256:" + "2" * 64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def reopened(journal: Journal, path: Path) -> Journal:
    journal.close()
    return Journal(path)


def test_a_replayed_attempt_is_known_also_after_it_ended_and_after_a_restart(path: Path) -> None:
    journal = Journal(path)
    assert journal.first_sight("a1", "grant")
    assert not journal.first_sight("a1", "grant")
    journal.attempt_ended("a1")
    journal.attempt_ended("a1")
    assert not journal.first_sight("a1", "grant")
    journal = reopened(journal, path)
    assert journal.seen("a1")
    assert not journal.first_sight("a1", "grant")
    assert journal.open_attempts == ()


def test_what_a_dead_runner_left_is_found_by_the_next_start(path: Path) -> None:
    journal = Journal(path)
    journal.first_sight("a1", "grant 1")
    journal.first_sight("a2", "grant 2")
    journal.sandbox_started("a1", "b1")
    journal.sandbox_started("a1", "b2")
    journal.sandbox_gone("b1")
    journal.credential_intended("a1", "write")
    journal.credential_issued("a1", "acc1")
    journal.credential_intended("a2", "write")
    journal.receipt_signed("a2", "receipt 2", proven=True)
    journal.witnessed(W1)
    journal = reopened(journal, path)
    first, second = journal.open_attempts
    assert (first.attempt, first.grant, first.sandboxes, first.receipt) == ("a1", "grant 1", {"b2"}, None)
    assert [(item.scope, item.accessor) for item in first.credentials] == [("write", "acc1")]
    assert [(item.attempt, item.accessor) for item in second.credentials] == [("a2", None)]
    assert second.receipt == "receipt 2"
    assert journal.live_sandboxes == {"b2"}
    assert journal.witness == W1
    journal.credential_revoked("acc1")
    journal.credential_revoked("acc1")
    journal.credential_not_issued("a2", "write")
    journal.sandbox_gone("b2")
    journal = reopened(journal, path)
    assert journal.live_credentials == ()
    assert journal.live_sandboxes == frozenset()


def test_an_attempt_whose_receipt_proves_nothing_stays_open_after_the_gateway_took_it(path: Path) -> None:
    journal = Journal(path)
    journal.first_sight("a1", "grant 1")
    journal.sandbox_started("a1", "b1")
    journal.receipt_signed("a1", "unproven", proven=False)
    journal = reopened(journal, path)
    journal.receipt_taken("a1")
    for _ in range(SLACK + 10):
        journal.sandbox_gone("unknown")
    journal = reopened(journal, path)
    (left,) = journal.open_attempts
    assert (left.told, left.receipt, left.sandboxes) == (True, None, {"b1"})
    journal.receipt_signed("a1", "proven", proven=True)
    journal.receipt_taken("a1")
    assert reopened(journal, path).open_attempts == ()


def test_the_witnessed_checkpoint_never_gets_smaller(path: Path) -> None:
    journal = Journal(path)
    journal.witnessed(W2)
    with pytest.raises(JournalError, match="smaller"):
        journal.witnessed(W1)
    assert journal.witness == W2
    assert reopened(journal, path).witness == W2


def test_a_contradiction_is_refused_and_not_written(path: Path) -> None:
    journal = Journal(path)
    before = path.read_bytes()
    with pytest.raises(JournalError, match="not open"):
        journal.sandbox_started("unknown", "b1")
    assert path.read_bytes() == before


def test_a_journal_cut_anywhere_keeps_every_whole_line(path: Path) -> None:
    journal = Journal(path)
    for number in range(4):
        journal.first_sight(f"a{number}", "ü grant")
    journal.close()
    data = path.read_bytes()
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        journal = Journal(path)
        whole = data[:cut].count(b"\n")
        assert [entry.attempt for entry in journal.open_attempts] == [f"a{number}" for number in range(whole)]
        assert journal.first_sight("new", "grant")
        journal = reopened(journal, path)
        assert len(journal.open_attempts) == whole + 1
        journal.close()


@pytest.mark.parametrize("garbage", [b"\x00\x00\x00\x00", b'{"k":\n', b"\xff\xff\n", b"[]\n"])
def test_a_torn_last_line_of_any_shape_is_dropped(path: Path, garbage: bytes) -> None:
    journal = Journal(path)
    journal.first_sight("a1", "grant")
    journal.close()
    with path.open("ab") as file:
        file.write(garbage)
    journal = Journal(path)
    assert journal.seen("a1")
    assert journal.first_sight("a2", "grant")
    assert reopened(journal, path).seen("a2")


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b'{"k":"unknown"}\n', b'{"k":"attempt"}\n', b'{"k":"ended","attempt":[]}\n']
)
def test_damage_before_the_last_line_stops_the_runner(path: Path, line: bytes) -> None:
    journal = Journal(path)
    journal.first_sight("a1", "grant")
    journal.close()
    path.write_bytes(line + path.read_bytes())
    with pytest.raises(JournalError, match="line 1"):
        Journal(path)


def test_compaction_keeps_the_state_and_bounds_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journalling, "SLACK", 20)
    journal = Journal(path)
    journal.first_sight("kept", "grant")
    journal.sandbox_started("kept", "box")
    journal.credential_issued("kept", "acc")
    journal.receipt_signed("kept", "receipt", proven=True)
    journal.first_sight("ended", "grant")
    journal.attempt_ended("ended")
    for size in range(1, 200):
        journal.witnessed(Witness(size, "sha256:" + "0" * 64))
    assert path.read_bytes().count(b"\n") < 60
    for last in (journal, reopened(journal, path)):
        assert last.seen("ended")
        assert [entry.attempt for entry in last.open_attempts] == ["kept"]
        assert last.live_sandboxes == {"box"}
        assert [item.accessor for item in last.live_credentials] == ["acc"]
        assert last.open_attempts[0].receipt == "receipt"
        assert last.witness == Witness(199, "sha256:" + "0" * 64)


def test_attempts_are_remembered_up_to_a_bound_and_open_ones_always(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journalstate, "MAX_SEEN", 10)
    journal = Journal(path)
    journal.first_sight("open", "grant")
    for number in range(20):
        journal.first_sight(f"a{number}", "grant")
        journal.attempt_ended(f"a{number}")
    assert journal.seen("open")
    assert journal.seen("a19")
    assert not journal.seen("a0")


def test_a_failed_write_is_said_and_nothing_more_is_recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path)
    journal.first_sight("a1", "grant")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(JournalError, match="No space"):
        patch.setattr(os, "fsync", full)
        journal.first_sight("a2", "grant")
    with pytest.raises(JournalError, match="closed"):
        journal.first_sight("a3", "grant")
    assert Journal(path).seen("a1")


def test_every_record_is_on_disk_before_the_call_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path)
    synced: list[bytes] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (real(descriptor), synced.append(path.read_bytes()))[0])
    journal.first_sight("a1", "grant")
    assert [json.loads(line)["attempt"] for line in synced[-1].splitlines()] == ["a1"]


def test_two_runners_cannot_share_a_journal(path: Path) -> None:
    journal = Journal(path)
    program = (
        "import sys; from pathlib import Path; from lockgate.runner.journal import Journal; Journal(Path(sys.argv[1]))"
    )
    other = subprocess.run([sys.executable, "-c", program, path], check=False, capture_output=True, text=True)
    assert other.returncode != 0
    assert "another runner" in other.stderr
    journal.close()
    assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == 0


def test_a_runner_killed_at_any_moment_forgets_nothing_it_was_told(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from lockgate.runner import journal; journal.SLACK = 8\n"
        "journal = journal.Journal(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n"
        "    attempt = f'{sys.argv[2]}-{number}'\n"
        "    journal.first_sight(attempt, 'grant'); journal.attempt_ended(attempt); print(attempt, flush=True)\n"
    )
    told: list[str] = []
    for round_ in range(4):
        child = subprocess.Popen([sys.executable, "-c", program, path, str(round_)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        told += [child.stdout.readline().strip() for _ in range(10 + 7 * round_)]
        child.kill()
        told += [line.strip() for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        child.wait()
    journal = Journal(path)
    assert len(told) > 60
    assert all(journal.seen(attempt) for attempt in told)


def test_the_file_is_the_runners_alone(path: Path) -> None:
    Journal(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
