"""A day at a gate on which everything that policy is asked happens, and the records it leaves."""

from __future__ import annotations

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import agent, human, plan_bytes

from lockgate.gateway.errors import Forbidden
from lockgate.gateway.operations.model import DecisionRecord
from lockgate.gateway.store.port import Decisions

APPROVER = human("ada", "approver", "admin")


async def a_busy_day(gate: Gate) -> None:
    """A wait that another ends, a change at once, one with an approval, denials, looks, a freeze and a revocation."""
    waits = await gate.ask()
    await gate.desk.freeze(APPROVER, "target:web-dev", True, "a quiet hour")
    assert await gate.runner().poll() is None
    await gate.desk.cancel(APPROVER, waits.id)
    await gate.desk.freeze(APPROVER, "target:web-dev", False, "over again")
    await gate.applied()
    held = await gate.pending(plan=plan_bytes())
    await gate.vote(held, APPROVER)
    await gate.runner().take()
    await gate.desk.show(APPROVER, held.id)
    await gate.desk.explain(APPROVER, held.id)
    await gate.desk.list(APPROVER, states=(), target=None, before=None, limit=10)
    await gate.ask(agent(roles=()))
    with pytest.raises(Forbidden):
        await gate.desk.freeze(human("eve", "nobody"), "*", True, "because I can")
    await gate.desk.revoke(APPROVER, "principal", "https://idp.example#nobody", "who is that")


async def every_record(gate: Gate) -> list[DecisionRecord]:
    found: list[DecisionRecord] = []
    while page := await gate.store.read(Decisions(after=found[-1].id if found else None, limit=7)):
        found += page
    return found
