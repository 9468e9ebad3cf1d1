"""What only the SQLite store promises: file modes, the lock, migrations, a bounded queue, append-only in the schema."""

import asyncio
import stat
from pathlib import Path

import orjson
import pysqlite3
import pytest

from lockgate.gateway.operations.inputs import KeptInput
from lockgate.gateway.operations.model import DecisionRecord
from lockgate.gateway.store.port import (
    Append,
    Done,
    GetDecision,
    GetEpoch,
    GetOperation,
    StoreBusy,
    StoreError,
    StoreLocked,
)
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.gateway.store.sqlite.connection import check_version, open_writer
from lockgate.gateway.store.sqlite.schema import migrate, migrations, version
from lockgate.testing.records import NOW, admit, entry, operation


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_only_its_user_may_open_any_file_of_the_store(store: SqliteStore, path: Path) -> None:
    await store.commit(Append((entry(),), NOW))
    assert mode(path.parent) == 0o700
    files = {file.name: mode(file) for file in path.parent.iterdir()}
    assert files == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm", "store.db.lock"), 0o600)


@pytest.mark.parametrize(("what", "fix"), [("file", "chmod 600"), ("directory", "chmod 700")])
async def test_a_store_others_could_read_is_refused(path: Path, what: str, fix: str) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    (path if what == "file" else path.parent).chmod(0o750)
    with pytest.raises(StoreError, match=fix):
        await SqliteStore(path).migrate()


async def test_a_link_in_place_of_the_file_is_refused(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot use"):
        await SqliteStore(path).migrate()


async def test_the_same_store_opens_once(store: SqliteStore, path: Path) -> None:
    with pytest.raises(StoreLocked):
        await SqliteStore(path).migrate()
    await store.migrate()
    await store.close()
    again = SqliteStore(path)
    await again.migrate()
    await again.close()


def test_a_sqlite_with_the_wal_reset_bug_is_refused() -> None:
    with pytest.raises(StoreError, match=r"3\.51\.2 can lose data"):
        check_version((3, 51, 2))
    check_version((3, 51, 3))
    check_version()


async def test_durability_settings_are_in_force(store: SqliteStore) -> None:
    database = store._open.db  # type: ignore[union-attr]
    found = {
        name: database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_a_full_queue_refuses_before_anything(path: Path) -> None:
    store = SqliteStore(path, queue_limit=3)
    await store.migrate()
    results = await asyncio.gather(
        *(store.commit(admit(operation(f"op-{n}"), epoch=1)) for n in range(5)), return_exceptions=True
    )
    assert [type(item) for item in results] == [Done, Done, Done, StoreBusy, StoreBusy]
    assert await store.read(GetOperation("op-3")) is None
    assert isinstance(await store.commit(admit(operation("op-3"), epoch=1)), Done)
    await store.close()


async def test_a_batch_is_one_commit(store: SqliteStore) -> None:
    await store.commit(Append((entry(),), NOW))
    before = store.commits
    await asyncio.gather(*(store.commit(admit(operation(f"op-{n}"), epoch=1)) for n in range(300)))
    assert 1 <= store.commits - before < 100


async def test_what_was_asked_in_the_very_turn_of_closing_is_finished(path: Path) -> None:
    store = SqliteStore(path)
    await store.migrate()
    epoch = await store.read(GetEpoch())
    asked = [asyncio.create_task(store.commit(admit(operation(f"op-{n}"), epoch=epoch))) for n in range(3)]
    await asyncio.sleep(0)  # each has now put its command, and none has been handed to the writer
    await store.close()
    async with asyncio.timeout(300):
        assert [isinstance(await answer, Done) for answer in asked] == [True] * 3


async def test_a_cancelled_caller_leaves_its_command_to_run(store: SqliteStore) -> None:
    task = asyncio.ensure_future(store.commit(admit(operation("op"), epoch=1)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.commit(Append((entry(),), NOW))
    assert await store.read(GetOperation("op")) == operation("op")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_bug_in_the_writer_stops_it_for_good(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockgate.gateway.store.sqlite.writer.number", None)
    with pytest.raises(StoreError, match="unknown"):
        await store.commit(Append((entry(),), NOW))
    assert store.failure is not None
    with pytest.raises(StoreError, match="restarted"):
        await store.commit(Append((entry(),), NOW))
    assert await store.read(GetEpoch()) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET kind = 'x'",
        "DELETE FROM audit_entry",
        "INSERT OR REPLACE INTO audit_entry SELECT * FROM audit_entry",
        "UPDATE head SET size = 0",
        "UPDATE head SET epoch = 0",
        "DELETE FROM head",
        "INSERT INTO head SELECT 2, epoch, size, root, frontier FROM head",
    ],
)
async def test_the_schema_itself_keeps_the_log_append_only(store: SqliteStore, path: Path, statement: str) -> None:
    await store.commit(Append((entry(),), NOW))
    other = pysqlite3.connect(path, isolation_level=None)
    with pytest.raises(pysqlite3.IntegrityError):
        other.execute(statement)
    other.close()


def test_migrations_are_numbered_without_a_gap_and_run_once(path: Path) -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    database = open_writer(path)
    migrate(database)
    migrate(database)
    assert version(database) == len(migrations())
    database.close()


def test_a_newer_schema_is_refused_and_a_failed_migration_leaves_nothing(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    database = open_writer(path)
    steps = migrations()
    migrate(database, steps)
    following = len(steps) + 1
    with pytest.raises(StoreError, match=f"migration {following:04d} failed, nothing"):
        migrate(database, [*steps, (following, "CREATE TABLE half (x); CREATE TABLE half (x);")])
    assert version(database) == len(steps)
    migrate(database, [*steps, (following, "CREATE TABLE half (x);")])
    with pytest.raises(StoreError, match=f"version {following}, this program knows {len(steps)}"):
        migrate(database, steps)
    database.close()


async def test_a_file_that_is_no_store_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"not a database, but something long enough to look at " * 50)
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(StoreError):
        await SqliteStore(path).migrate()
    assert path.read_bytes() == before


async def test_decisions_of_a_store_before_records_keep_their_input(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    database = open_writer(path)
    migrate(database, [step for step in migrations() if step[0] < 3])
    document = {"id": "dec_1", "revision": "sha256:1", "input_sha256": "sha256:2"}
    body = {
        "id": "dec_1",
        "operation": None,
        "question": "request",
        "allow": True,
        "revision": "sha256:1",
        "document": document,
        "input": {"tenant": "blue", "arguments": {"share": 1.0}},
        "at": NOW,
    }
    sql = "INSERT INTO decision (id, operation, body) VALUES (?, ?, ?)"
    database.execute(sql, ("dec_1", None, orjson.dumps(body)))
    database.close()
    store = SqliteStore(path)
    await store.migrate()
    kept = KeptInput(b'{"tenant":"blue","arguments":{"share":1.0}}')
    record = DecisionRecord("dec_1", "blue", None, "request", True, document, kept, NOW)
    assert await store.read(GetDecision("dec_1")) == record
    await store.close()
