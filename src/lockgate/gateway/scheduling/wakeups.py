"""Wakes those who wait for an operation or for work when the store says that something moved; it must not poll."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from lockgate.gateway.store.port import Store


class Wakeups:
    """One consumer of `store.changes()` for the whole gateway."""

    def __init__(self) -> None:
        self._any: set[asyncio.Future[None]] = set()
        self._standing: set[asyncio.Future[None]] = set()
        self._by_operation: dict[str, set[asyncio.Future[None]]] = {}

    async def run(self, store: Store) -> None:
        """For ever: pass on what the store says was touched."""
        async for touched in store.changes():
            _wake(self._any)
            names = touched or frozenset(self._by_operation)
            for name in names:
                _wake(self._by_operation.get(name, set()))

    def wake_all(self) -> None:
        """Something that is not in the store changed; whoever waits looks again."""
        _wake(self._any)
        _wake(self._standing)

    def watch_any(self) -> asyncio.Future[None]:
        """A future that is done at the next change; take it before looking, so that nothing is missed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._any.add(future)
        future.add_done_callback(self._any.discard)
        return future

    def watch(self, operation: str) -> asyncio.Future[None]:
        """As `watch_any`, for one operation."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._by_operation.setdefault(operation, set())
        waiting.add(future)

        def forget(done: asyncio.Future[None]) -> None:
            waiting.discard(done)
            if not waiting and self._by_operation.get(operation) is waiting:
                del self._by_operation[operation]

        future.add_done_callback(forget)
        return future

    def watch_all(self, operations: Iterable[str]) -> asyncio.Future[None]:
        """Done when one of the operations moved, or what `wake_all` speaks of. Cancelling it ends every watch behind it."""
        watches = [self.watch(operation) for operation in operations]
        either: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._standing.add(either)

        def over(_: asyncio.Future[None]) -> None:
            self._standing.discard(either)
            for watch in watches:
                watch.cancel()

        either.add_done_callback(over)
        for watch in watches:
            watch.add_done_callback(lambda _: None if either.done() else either.set_result(None))
        return either


async def until(future: asyncio.Future[None], seconds: float, gone: asyncio.Future[None] | None = None) -> bool:
    """Wait for a watch at most `seconds`, or until `gone`; False when one of these came first. The watch is over either way."""
    try:
        wanted = {future} if gone is None else {future, gone}
        done, _ = await asyncio.wait(wanted, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        return future in done
    finally:
        future.cancel()


def _wake(futures: set[asyncio.Future[None]]) -> None:
    for future in tuple(futures):
        if not future.done():
            future.set_result(None)
