"""A heartbeat and the end of its lease at the same moment: one of them wins, and the runner is told which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.invariants.gate import Gate

from lockgate.contract.keyset import KeyRole
from lockgate.contract.runnerapi import Heartbeat, LeaseRequest
from lockgate.gateway.doors import RunnerPeer
from lockgate.gateway.scheduling.sweep import lease_ended, sweep
from lockgate.gateway.store.port import Transition


async def test_a_lease_that_was_prolonged_meanwhile_is_not_ended(gate: Gate) -> None:
    operation, lease = await gate.applied()
    seen = await gate.attempt(lease.attempt)
    gate.clock.advance(gate.core.timing.lease)
    beat = await gate.door.heartbeat(gate.runner().peer, lease.attempt, Heartbeat(lease.grant.fence))
    assert beat.lease_seconds == gate.core.timing.lease
    assert await lease_ended(gate.core, seen, operation) == 0, "the sweep had read it before the heartbeat"
    assert (await gate.operation(operation)).state.value == "running"
    assert await gate.lock_state("web-dev") == "held"


async def test_a_heartbeat_that_came_second_is_told_that_it_is_over(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep ends the lease between the heartbeat's look and its commit."""
    operation, lease = await gate.applied()
    gate.clock.advance(gate.core.timing.lease + 1)
    commit = gate.store.commit
    turns = iter([True])

    async def overtaken(command: Any) -> Any:
        if isinstance(command, Transition) and not command.entries and next(turns, False):
            assert await sweep(gate.core) == 1
        return await commit(command)

    monkeypatch.setattr(gate.store, "commit", overtaken)
    beat = await gate.door.heartbeat(gate.runner().peer, lease.attempt, Heartbeat(lease.grant.fence))
    assert (beat.cancel, beat.lease_seconds) == (True, 0)
    assert next(turns, None) is None
    assert (await gate.operation(operation)).state.value == "indeterminate"
    assert (await gate.attempt(lease.attempt)).state.value == "unproven"


async def test_a_poll_is_answered_with_its_lease_in_its_own_region_only(gate: Gate) -> None:
    namesake = gate.keys.runners["runner-2"][1].entry(KeyRole.RUNNER, "runner-1", "far")
    gate.core.keyset = replace(gate.core.keyset, keys=(*gate.core.keyset.keys, namesake))
    await gate.ask()
    poll = "same0123"
    mine = await gate.runner().poll(poll)
    assert mine is not None
    again = await gate.runner().poll(poll)
    assert again is not None
    assert again.attempt == mine.attempt
    elsewhere = RunnerPeer("test", "default", "far", "runner-1")
    assert (await gate.door.lease(elsewhere, LeaseRequest(poll, ("runbook",), 0, None))).offer is None
