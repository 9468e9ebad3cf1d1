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
def copied_file(store: Path) -> Iterator[Path]:
    """A private copy of the store's file, gone afterwards. Raises StoreError."""
    import pysqlite3

    from lockgate.gateway.store.port import StoreError
    from lockgate.gateway.store.sqlite.connection import open_reader

    with tempfile.TemporaryDirectory(prefix="lockgate-copy-") as folder:
        path = Path(folder) / store.name
        path.touch(mode=0o600)
        source, copy = open_reader(store), pysqlite3.connect(str(path))
        try:
            source.backup(copy)
        except pysqlite3.Error as error:
            raise StoreError(f"store: cannot copy {store}: {error}") from None
        finally:
            copy.close()
            source.close()
        yield path


@asynccontextmanager
async def copied_store(store: Path) -> AsyncIterator[Store]:
    """A store over such a copy. Raises StoreError."""
    from lockgate.gateway.store.sqlite import SqliteStore

    with copied_file(store) as path:
        opened = SqliteStore(path)
        await opened.migrate()
        try:
            yield opened
        finally:
            await opened.close()
