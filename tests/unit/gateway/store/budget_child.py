"""Run by the crash test of budgets as its own process: claims without end and prints what was acknowledged. Arguments: store, turn."""

import asyncio
import sys
from dataclasses import replace

from lockgate.gateway.store.port import Claim, Done, Scope
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.testing.records import admit, operation, principal
from lockgate.testing.store.budgets import total


async def claim_for_ever(path: str, turn: str) -> None:
    """Eight callers against a budget of twenty; a line per claim that held, written the moment it is acknowledged."""
    store = SqliteStore(path)
    await store.migrate()
    who = principal(f"agent-{turn}")
    claim = Claim("b", total(Scope("default", principal=who.id)), 1, 20)

    async def caller(number: int) -> None:
        for n in range(number, 200, 8):
            command = admit(operation(f"{turn}-{n}", principal=who), epoch=1)
            outcome = await store.commit(replace(command, claims=(claim,), spends=True))
            print("claimed" if isinstance(outcome, Done) else "refused", f"{turn}-{n}", flush=True)

    await asyncio.gather(*(caller(number) for number in range(8)))
    await asyncio.Event().wait()


asyncio.run(claim_for_ever(sys.argv[1], sys.argv[2]))
