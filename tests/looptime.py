"""The time of a test's event loop, which the test moves on: a deadline has passed when the test says so, on a slow machine as on a fast one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

PassBy = Callable[[float], None]
"""So many seconds go by at once: whatever of the running loop was to be done until then is late."""


@pytest.fixture
async def pass_by(monkeypatch: pytest.MonkeyPatch) -> PassBy:
    """Moves on the time of the loop that the test runs in."""
    loop = asyncio.get_running_loop()
    real, skipped = loop.time, 0.0

    def passed(seconds: float) -> None:
        nonlocal skipped
        skipped += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + skipped)
    return passed


async def turns(count: int = 100) -> None:
    """Leave the loop so many turns: whatever is late by then is done with."""
    for _ in range(count):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def comes_about(what: str, seconds: float = 120) -> AsyncIterator[None]:
    """The block ends in time, or the failure says what did not come about: `TimeoutError` alone tells nobody anything."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise AssertionError(f"{what}: not within {seconds:g} s") from None
