"""Tells any number of readers which operations a committed batch touched; it must never block the writer or grow without bound."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator

NOTHING_KNOWN: frozenset[str] = frozenset()
"""What a reader gets when something else moved, or when it was too slow: look again at everything."""


class Subscription(AsyncIterator[frozenset[str]]):
    """One reader; it counts from the moment it was made. Ends when the store closes."""

    def __init__(self, limit: int) -> None:
        self._waiting: deque[frozenset[str]] = deque()
        self._limit = limit
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, change: frozenset[str]) -> None:
        """Add a change; one too many becomes a single empty set."""
        if len(self._waiting) >= self._limit:
            self._waiting.clear()
            change = NOTHING_KNOWN
        self._waiting.append(change)
        self._wake.set()

    def close(self) -> None:
        """End the iteration once what waits was read."""
        self._closed = True
        self._wake.set()

    async def __anext__(self) -> frozenset[str]:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()


class Feed:
    """Fans changes out; a reader that is dropped is forgotten. Only to be used from the event loop."""

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._readers: weakref.WeakSet[Subscription] = weakref.WeakSet()

    def subscribe(self) -> Subscription:
        """A new reader of everything from now on."""
        reader = Subscription(self._limit)
        self._readers.add(reader)
        return reader

    def publish(self, touched: frozenset[str], moved: bool) -> None:
        """A batch touched these operations; `moved`: also something that is no operation."""
        for reader in tuple(self._readers):
            if touched:
                reader.put(touched)
            if moved:
                reader.put(NOTHING_KNOWN)

    def close(self) -> None:
        """End every reader."""
        for reader in tuple(self._readers):
            reader.close()
