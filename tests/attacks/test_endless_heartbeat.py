"""A runner that beats for ever and does nothing else: it holds neither an operation nor a target for longer than its grant was made for."""

from __future__ import annotations

import pytest
from tests.invariants.gate import Gate, Lease

from lockgate.contract.runnerapi import Heartbeat
from lockgate.gateway.scheduling.sweep import sweep

BEATS = 10_000


async def beaten(gate: Gate, lease: Lease) -> int:
    """How many heartbeats, ten seconds apart, kept the attempt; at most BEATS."""
    runner = gate.runner()
    for count in range(BEATS):
        gate.clock.advance(10)
        answer = await gate.door.heartbeat(runner.peer, lease.attempt, Heartbeat(lease.grant.fence))
        await sweep(gate.core)
        if answer.lease_seconds == 0:
            return count
    return BEATS


@pytest.mark.parametrize("phase", ["leased", "started", "applying"])
async def test_an_attempt_that_only_beats_comes_to_an_end(gate: Gate, phase: str) -> None:
    if phase == "applying":
        operation, lease = await gate.applied()
    else:
        operation = await gate.ask()
        lease = await gate.runner().take()
        if phase == "started":
            assert (await gate.runner().start(lease)).permit is not None
    made_for = (lease.grant.not_after - lease.grant.issued_at) // 1000
    assert 1 < await beaten(gate, lease) <= made_for // 10 + 1
    gate.clock.advance(31)
    await sweep(gate.core)
    now = await gate.operation(operation)
    assert now.state.value == ("indeterminate" if phase == "applying" else "queued")
    assert (await gate.attempt(lease.attempt)).state.value == "unproven"
