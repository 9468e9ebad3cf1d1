"""A client that leaves ends its own wait; what it asked for is recorded and goes on."""

from __future__ import annotations

import asyncio

from tests.invariants.gate import Gate
from tests.invariants.parties import agent

from lockgate.gateway.doors import Call
from lockgate.gateway.operations.states import State

ARGUMENTS = {"target": "web-dev", "replicas": 3, "reason": "more customers", "wait_seconds": 60}


async def test_a_call_whose_client_leaves_stops_waiting_and_stays_recorded(gate: Gate) -> None:
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asked = asyncio.Event()

    def leaves() -> asyncio.Future[None]:
        asked.set()
        return gone

    waiting = asyncio.create_task(gate.desk.call(agent(), Call("set_replicas", ARGUMENTS, 100, leaves)))
    async with asyncio.timeout(30):
        await asked.wait()  # it is recorded by now, and waits
        assert not waiting.done()
        gone.set_result(None)
        operation = await waiting
    assert operation.state is State.QUEUED
    assert (await gate.operation(operation)).cancel_requested is False


async def test_nobody_is_watched_for_where_nothing_waits(gate: Gate) -> None:
    def leaves() -> asyncio.Future[None]:
        raise AssertionError("a call that does not wait costs no watch")

    arguments = {name: value for name, value in ARGUMENTS.items() if name != "wait_seconds"}
    operation = await gate.desk.call(agent(), Call("set_replicas", arguments, 100, leaves))
    assert (await gate.desk.get(agent(), operation.id, 0, leaves)).id == operation.id
