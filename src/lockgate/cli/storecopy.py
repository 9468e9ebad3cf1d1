"""A consistent copy of a store while a gateway may be writing it, by SQLite's own online backup; the original is only read."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockgate.gateway.store.port import Store


@contextmanager
def copied_file(store: Path, *, still: bool = False) -> Iterator[Path]:
    """A private copy of the store's file, gone afterwards. `still`: it is somebody's copy already, beside which nothing may be made. Raises StoreError."""
    import pysqlite3

    from lockgate.gateway.store.port import StoreError
    from lockgate.gateway.store.sqlite.connection import open_copy, open_reader

    # A store that is open has its write-ahead log beside it: then SQLite's own locks are what keeps the copy consistent.
    alone = still and not store.with_name(store.name + "-wal").exists()
    with tempfile.TemporaryDirectory(prefix="lockgate-copy-") as folder:
        path = Path(folder) / store.name
        path.touch(mode=0o600)
        source, copy = (open_copy if alone else open_reader)(store), pysqlite3.connect(str(path))
        try:
            source.backup(copy)
        except pysqlite3.Error as error:
            raise StoreError(f"store: cannot copy {store}: {error}") from None
        finally:
            copy.close()
            source.close()
        yield path


def _require_store(copy: Path, original: Path) -> None:
    """Opening a store makes its tables where none are: another program's file must not pass for a store in which nothing happened."""
    from lockgate.gateway.store.port import StoreError
    from lockgate.gateway.store.sqlite.connection import open_reader
    from lockgate.gateway.store.sqlite.schema import version

    db = open_reader(copy)
    try:
        if not version(db):
            raise StoreError(f"store: {original} is no Lockgate store: it has no schema version")
    finally:
        db.close()


@asynccontextmanager
async def copied_store(store: Path, *, still: bool = False) -> AsyncIterator[Store]:
    """A store over such a copy. Raises StoreError."""
    from lockgate.gateway.store.sqlite import SqliteStore

    with copied_file(store, still=still) as path:
        _require_store(path, store)
        opened = SqliteStore(path)
        await opened.migrate()
        try:
            yield opened
        finally:
            await opened.close()
