"""Who waits for an operation is told news, and is not sent round in circles."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import human

from lockgate.gateway.desk import AgentDesk
from lockgate.gateway.scheduling.rates import Rates
from lockgate.gateway.scheduling.wakeups import Wakeups

SECONDS = 60.0


class Noticed(Wakeups):
    """Says when somebody has begun to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = asyncio.Event()

    def watch(self, operation: str) -> asyncio.Future[None]:
        watch = super().watch(operation)
        self.waiting.set()
        return watch


@pytest.mark.parametrize("verdict", ["approve", "reject"])
async def test_a_look_at_what_waits_for_a_human_is_answered_once_the_human_acted(strict: Gate, verdict: str) -> None:
    """Without this a client that follows `next` asks some hundred times a second until somebody approves."""
    wakeups = Noticed()
    desk = AgentDesk(strict.core, wakeups, Rates(1000.0, 1000, strict.clock))
    operation = await strict.pending()
    passing_on = asyncio.create_task(wakeups.run(strict.store))
    looking = asyncio.create_task(desk.get(operation.principal, operation.id, SECONDS))
    begun = asyncio.create_task(wakeups.waiting.wait())
    try:
        await asyncio.wait({looking, begun}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        assert begun.done() and not looking.done()
        await strict.vote(operation, human("carol"), verdict)
        if verdict == "approve":
            await strict.vote(operation, human("dave"))
            await desk.cancel(operation.principal, operation.id)
        seen = await asyncio.wait_for(looking, SECONDS)
        assert seen.state.value == {"approve": "cancelled", "reject": "denied"}[verdict]
    finally:
        for task in (passing_on, looking, begun):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_a_look_without_time_to_wait_is_answered_at_once(strict: Gate) -> None:
    operation = await strict.pending()
    seen = await strict.desk.get(operation.principal, operation.id)
    assert seen.state.value == "pending_approval"
