"""The stores that the contract's tests run on, as fixtures; it must not know a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from lockgate.gateway.store import port

OpenStore = Callable[[], Awaitable[port.Store]]


class Opening:
    """Provide the fixture `open_store`: a function that opens the same, at first empty, store again and again (the earlier one closed)."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """To be overridden."""
        raise NotImplementedError

    @pytest_asyncio.fixture
    async def store(self, open_store: OpenStore) -> AsyncIterator[port.Store]:
        """An open, migrated, empty store."""
        made = await open_store()
        yield made
        await made.close()
