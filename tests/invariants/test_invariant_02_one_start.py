"""Invariant 2: a start happens at most once per attempt, by one runner, in one region, before the grant expires."""

from __future__ import annotations

import asyncio

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import INPUTS, plan_bytes

from lockgate.contract.intent import Stage
from lockgate.contract.runnerapi import Heartbeat, StartAnswer, StartRequest
from lockgate.gateway import progress
from lockgate.gateway.errors import Clash, NotFound
from lockgate.gateway.store.port import AttemptsOf


def permits(answers: list[StartAnswer]) -> int:
    return sum(answer.permit is not None for answer in answers)


async def test_a_second_start_brings_no_second_permit(gate: Gate) -> None:
    operation, lease = await gate.applying()
    runner = gate.runner()
    first, second = await runner.start_apply(lease), await runner.start_apply(lease)
    assert permits([first, second]) == 1
    assert second.permit is None
    assert "already started" in str(second.refused)
    assert len(await gate.envelopes(operation, "permit")) == 2, "one for plan, one for apply"


async def test_of_starts_at_the_same_time_exactly_one_gets_a_permit(gate: Gate) -> None:
    operation, lease = await gate.applying()
    runner = gate.runner()
    check = runner.stage(lease, Stage.CHECK, plan=plan_bytes())
    answers = await asyncio.gather(*(runner.start(lease, check=check) for _ in range(8)))
    assert permits(list(answers)) == 1
    started = [attempt for attempt in await gate.store.read(AttemptsOf(operation.id)) if attempt.started_at]
    assert len(started) == 2


async def test_starts_that_read_the_same_state_are_told_apart_by_the_store(gate: Gate) -> None:
    """Two gateways, or two calls between whose reading and writing the other came: the transaction decides."""
    operation, lease = await gate.applying()
    runner = gate.runner()
    check = runner.stage(lease, Stage.CHECK, plan=plan_bytes())
    request = StartRequest(lease.grant.fence, INPUTS, check.manifest, check.plan)
    seen, read = await gate.attempt(lease.attempt), await gate.operation(operation)
    answers = [await progress.start(gate.core, runner.peer, seen, read, request) for _ in range(3)]
    assert permits(answers) == 1


async def test_no_start_after_the_grant_has_expired(gate: Gate) -> None:
    """The lease is kept alive all the while: the grant's own end counts."""
    _, lease = await gate.applying()
    runner = gate.runner()
    while gate.clock.now < lease.grant.not_after:
        gate.clock.advance(20)
        await gate.door.heartbeat(runner.peer, lease.attempt, Heartbeat(lease.grant.fence))
    answer = await runner.start_apply(lease)
    assert answer.permit is None
    assert answer.refused == "the grant has expired"


async def test_no_start_after_the_lease_has_run_out(gate: Gate) -> None:
    _, lease = await gate.applying()
    gate.clock.advance(gate.core.timing.lease)
    answer = await gate.runner().start_apply(lease)
    assert answer.permit is None
    assert "lease" in str(answer.refused)


@pytest.mark.parametrize("other", ["runner-2", "far-1"])
async def test_another_runner_cannot_start_it(gate: Gate, other: str) -> None:
    await gate.ask()
    lease = await gate.runner().take()
    with pytest.raises(NotFound, match="no such attempt"):
        await gate.runner(other).start(lease)
    assert (await gate.runner().start(lease)).permit is not None


async def test_a_runner_of_another_region_is_offered_nothing(gate: Gate) -> None:
    await gate.ask()
    assert await gate.runner("far-1").poll() is None
    assert await gate.runner("runner-2").poll() is not None


async def test_an_overtaken_attempt_cannot_start(gate: Gate) -> None:
    """After a lost lease the operation has a new fence; the old runner comes too late."""
    from lockgate.gateway.scheduling.sweep import sweep

    await gate.ask()
    old = await gate.runner().take()
    gate.clock.advance(gate.core.timing.lease + 1)
    await sweep(gate.core)
    new = await gate.runner("runner-2").take()
    assert new.grant.fence > old.grant.fence
    answer = await gate.runner().start(old)
    assert answer.permit is None
    assert (await gate.runner("runner-2").start(new)).permit is not None


async def test_a_permit_names_the_grant_the_attempt_and_the_fence(gate: Gate) -> None:
    _, lease = await gate.applying()
    runner = gate.runner()
    permit = runner.permit(await runner.start_apply(lease))
    grant = lease.grant
    assert (permit.operation, permit.attempt, permit.fence, permit.phase) == (
        grant.operation,
        grant.attempt,
        grant.fence,
        grant.phase,
    )
    assert permit.inputs_sha256 == INPUTS
    assert 0 < permit.not_after - permit.issued_at <= 60_000


async def test_a_wrong_fence_is_a_clash(gate: Gate) -> None:
    await gate.ask()
    lease = await gate.runner().take()
    request = StartRequest(lease.grant.fence + 1, INPUTS, None, None)
    with pytest.raises(Clash, match="fence"):
        await gate.door.start(gate.runner().peer, lease.attempt, request)
