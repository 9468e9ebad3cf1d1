"""Opens SQLite connections with the settings durability rests on; it must not run a query of its own concern."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import pysqlite3

from lockgate.gateway.store.port import StoreError

LEAST_VERSION = (3, 51, 3)
"""SQLite 3.7.0 to 3.51.2 can lose data when a WAL is reset (the WAL-reset bug)."""

LOG_PAGES = 500
"""How long the write-ahead log becomes, in pages, until it is played into the file."""

Connection: TypeAlias = Any
DatabaseError: type[Exception] = pysqlite3.Error
IntegrityError: type[Exception] = pysqlite3.IntegrityError


def check_version(found: tuple[int, ...] = pysqlite3.sqlite_version_info) -> None:
    """Raises StoreError when the linked SQLite has the WAL-reset bug."""
    if found < LEAST_VERSION:
        names = ".".join(map(str, found)), ".".join(map(str, LEAST_VERSION))
        raise StoreError(
            f"store: SQLite {names[0]} can lose data (WAL reset); at least {names[1]} is needed: upgrade pysqlite3"
        )


def open_writer(path: Path) -> Connection:
    """The one read-write connection: WAL, synchronous=FULL, no waiting for others since there are none. Raises StoreError."""
    check_version()
    try:
        db = pysqlite3.connect(_uri(path, "rw"), uri=True, isolation_level=None, check_same_thread=False, timeout=5)
        mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA recursive_triggers = ON")
        db.execute("PRAGMA trusted_schema = OFF")
        # Else COMMIT plays the log into the file before it returns, and whoever waits for the commit waits for that as well: see play_log.
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("PRAGMA cache_size = -16384")
    except pysqlite3.Error as error:
        raise StoreError(f"store: cannot open {path}: {error}") from None
    if mode != "wal":
        db.close()
        raise StoreError(f"store: {path} cannot use a write-ahead log (got {mode}); put it on a local disk")
    return db


def play_log(db: Connection) -> None:
    """Play the write-ahead log into the file where it has become long. Raises DatabaseError; what was committed is in the log all the same.

    Nothing can be written meanwhile, so it is done often and little: that keeps the tail of answers short.
    """
    _, pages, played = db.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    if pages >= LOG_PAGES and played < pages:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def open_reader(path: Path) -> Connection:
    """A read-only connection. Raises StoreError."""
    try:
        db = pysqlite3.connect(_uri(path, "ro"), uri=True, isolation_level=None, check_same_thread=False, timeout=5)
        db.execute("PRAGMA query_only = ON")
    except pysqlite3.Error as error:
        raise StoreError(f"store: cannot open {path} for reading: {error}") from None
    return db


def open_copy(path: Path, *, replay: bool = False) -> Connection:
    """A copy that nobody writes, for offline verification: nothing beside it is read or created. Raises StoreError.

    `replay`: the copy is the verifier's own and its write-ahead log may be played into it.
    """
    try:
        uri = _uri(path, "rw") if replay else _uri(path, "ro") + "&immutable=1"
        db = pysqlite3.connect(uri, uri=True, isolation_level=None)
        db.execute("PRAGMA query_only = ON")
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except pysqlite3.Error as error:
        raise StoreError(f"store: cannot read the copy {path}: {error}") from None
    return db


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path.absolute()))}?mode={mode}"
