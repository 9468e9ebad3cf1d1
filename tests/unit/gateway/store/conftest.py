"""A SQLite store of the test's own, migrated, and where its file is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lockgate.gateway.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s" / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(path)
    await made.migrate()
    yield made
    await made.close()
