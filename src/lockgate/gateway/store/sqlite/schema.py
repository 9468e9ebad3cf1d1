"""Brings a store's schema to this program's version, one SQL file at a time; it must not touch a schema newer than it knows."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from lockgate.gateway.store.port import StoreError
from lockgate.gateway.store.sqlite.connection import Connection, DatabaseError

Migration = tuple[int, str]


def migrations() -> tuple[Migration, ...]:
    """(version, SQL) in order, from `migrations/NNNN_name.sql`."""
    folder = resources.files("lockgate.gateway.store.sqlite") / "migrations"
    files = sorted((item.name, item.read_text("utf-8")) for item in folder.iterdir() if item.name.endswith(".sql"))
    return tuple((int(name[:4]), sql) for name, sql in files)


def version(db: Connection) -> int:
    """The schema's version; 0 for an empty database."""
    found = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_version'").fetchone()
    return db.execute("SELECT max(version) FROM schema_version").fetchone()[0] if found else 0


def migrate(db: Connection, steps: Sequence[Migration] | None = None) -> None:
    """Run what is missing, each migration in its own transaction. Raises StoreError: newer schema, or a migration that failed."""
    steps = migrations() if steps is None else steps
    try:
        there = version(db)
    except DatabaseError as error:
        raise StoreError(f"store: not a Lockgate store: {error}") from None
    if there > steps[-1][0]:
        raise StoreError(
            f"store: its schema is version {there}, this program knows {steps[-1][0]}; use the newer Lockgate that wrote it"
        )
    for number, sql in steps:
        if number > there:
            _run(db, number, sql)


def _run(db: Connection, number: int, sql: str) -> None:
    mark = f"CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY) STRICT; PRAGMA user_version = {number:d};"
    stamp = "INSERT INTO schema_version SELECT user_version FROM pragma_user_version;"
    try:
        db.executescript(f"BEGIN EXCLUSIVE;\n{sql}\n{mark}\n{stamp}\nCOMMIT;")
    except DatabaseError as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise StoreError(f"store: migration {number:04d} failed, nothing of it was kept: {error}") from None
