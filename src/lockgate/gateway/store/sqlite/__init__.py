"""The store on one machine: SQLite with one writer thread and group commit; it must not be opened by two processes."""

from lockgate.gateway.store.sqlite.provider import SqliteStore

__all__ = ["SqliteStore"]
