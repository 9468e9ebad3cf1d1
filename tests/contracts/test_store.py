"""The store's contract on every provider; SQLite first. What only SQLite promises is in tests/unit/gateway/store."""

from pathlib import Path

import pytest

from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.testing.store import OpenStore, StoreContract


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        async def open_it() -> SqliteStore:
            store = SqliteStore(tmp_path / "store" / "lockgate.db")
            await store.migrate()
            return store

        return open_it
