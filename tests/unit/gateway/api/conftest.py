"""The front doors served by uvicorn on loopback over the in-memory core."""

from collections.abc import AsyncIterator

import pytest
from tests.unit.gateway.api.serving import Served, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A fresh gateway on a port of its own."""
    async with serving() as found:
        yield found
