"""The SQLite store's write-ahead log: played into the file behind the answers, kept short, and given up on when the disk fails."""

import threading
from pathlib import Path
from typing import Any

import pysqlite3
import pytest

from lockgate.gateway.store.port import Append, Done, StoreError
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.gateway.store.sqlite.connection import LOG_PAGES
from lockgate.testing.records import NOW, entry

PAGE = 4096 + 24
"""Bytes of a page in the log, its header included."""
ROW_PAGES = 60


def large() -> Append:
    """A command that takes some sixty pages."""
    return Append(tuple(entry(text="x" * 60_000) for _ in range(4)), NOW)


async def test_the_log_stays_short_however_much_is_written(store: SqliteStore, path: Path) -> None:
    for _ in range(4 * LOG_PAGES // ROW_PAGES):
        assert isinstance(await store.commit(large()), Done)
    log = path.with_name(path.name + "-wal").stat().st_size
    assert log < (LOG_PAGES + 3 * ROW_PAGES) * PAGE, f"{log // PAGE} pages"


async def test_no_answer_waits_for_the_log_being_played(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    answered, plays = threading.Event(), []

    def play(_: Any) -> None:
        plays.append(answered.wait(300))

    monkeypatch.setattr("lockgate.gateway.store.sqlite.writer.play_log", play)
    assert isinstance(await store.commit(large()), Done)
    answered.set()
    assert isinstance(await store.commit(large()), Done)
    assert plays[0], "the log was played before the answer"


async def test_sqlite_plays_nothing_within_a_commit(store: SqliteStore) -> None:
    database = store._open.db  # type: ignore[union-attr]
    assert database.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


@pytest.mark.parametrize(("code", "goes_on"), [(10, False), (13, True)], ids=["input/output error", "full disk"])
async def test_a_log_that_cannot_be_played_stops_writing_unless_only_room_is_missing(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, code: int, goes_on: bool
) -> None:
    def fails(_: Any) -> None:
        error = pysqlite3.OperationalError("no luck")
        error.sqlite_errorcode = code
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("lockgate.gateway.store.sqlite.writer.play_log", fails)
        assert isinstance(await store.commit(large()), Done)
        try:
            second: Done | StoreError | object = await store.commit(large())
        except StoreError as refused:
            second = refused
    assert (store.failure is None) == goes_on
    assert isinstance(second, Done) == goes_on
    assert goes_on or "restarted" in str(second)
