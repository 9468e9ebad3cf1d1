"""Two calls on one gate, the second as a whole at every point where the first waits for the store: no sleeping, no luck, every such order once."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.invariants.gate import Gate

from lockgate.gateway.errors import Refusal
from lockgate.policy.port import PolicyEngine

Act = Callable[[], Awaitable[Any]]
MEMORY = Path("/dev/shm")
"""Where stores lie: what is raced for is order, and nothing here is cut off from its power."""


class Barrier:
    """Stands before the real store. The task it watches is held before its `at`-th word with the store, until it is let go."""

    def __init__(self, store: Any, at: int) -> None:
        self._store = store
        self._left = at
        self.watched: asyncio.Task[Any] | None = None
        self.held = asyncio.Event()
        self.free = asyncio.Event()

    async def _pass(self) -> None:
        if asyncio.current_task() is self.watched and not self.held.is_set():
            if self._left == 0:
                self.held.set()
                await self.free.wait()
            self._left -= 1

    async def read(self, query: Any) -> Any:
        await self._pass()
        return await self._store.read(query)

    async def commit(self, command: Any) -> Any:
        await self._pass()
        return await self._store.commit(command)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@dataclass(frozen=True)
class Ended:
    """How a call came out: its answer, or the refusal's code."""

    answer: Any = None
    refused: str = ""


async def ended(act: Act) -> Ended:
    try:
        return Ended(await act())
    except Refusal as refusal:
        return Ended(refused=refusal.code)


@dataclass
class Run:
    """One order, run: the gate afterwards and how both calls came out; `at` is how many words the first had with the store before the second came."""

    gate: Gate
    at: int
    first: Ended
    second: Ended
    set_up: Any


async def every_order(
    engine: PolicyEngine, prepare: Callable[[Gate], Awaitable[tuple[Act, Act, Any]]]
) -> AsyncIterator[Run]:
    """Both acts on a fresh gate for each order, until the first act ends before it could be held; the last order is first, then second."""
    at = 0
    while True:
        home = Path(tempfile.mkdtemp(prefix="lockgate-race-", dir=MEMORY if MEMORY.is_dir() else None))
        gate = await Gate(home / "store.db", engine).open()
        try:
            first, second, set_up = await prepare(gate)
            barrier = Barrier(gate.store, at)
            gate.core.store = barrier
            task = barrier.watched = asyncio.create_task(ended(first))
            held = asyncio.create_task(barrier.held.wait())
            await asyncio.wait([task, held], return_when=asyncio.FIRST_COMPLETED)
            late = await ended(second)
            barrier.free.set()
            early = await task
            held.cancel()
            gate.core.store = gate.store
            yield Run(gate, at, early, late, set_up)
            if not barrier.held.is_set():
                return
        finally:
            await gate.close()
            shutil.rmtree(home)
        at += 1
