"""Invariant 7: a crash after *start* is `indeterminate`, never `failed`, never retried blindly."""

from __future__ import annotations

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import EMPTY, human, plan_bytes

from lockgate.contract.intent import Stage
from lockgate.contract.runnerapi import Heartbeat, Stop
from lockgate.gateway.errors import BadInput
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.scheduling.sweep import sweep


async def silent(gate: Gate) -> None:
    """The runner is not heard of for longer than its lease."""
    gate.clock.advance(gate.core.timing.lease + 1)
    await sweep(gate.core)


async def unknown(gate: Gate, operation: Operation) -> Operation:
    """The operation, which must be indeterminate and offered to nobody, however much time passes."""
    now = await gate.operation(operation)
    assert now.state.value == "indeterminate"
    for _ in range(3):
        gate.clock.advance(7200)
        await sweep(gate.core)
        for name in ("runner-1", "runner-2"):
            assert await gate.runner(name).poll() is None
    assert (await gate.operation(operation)).state.value == "indeterminate"
    return now


async def test_a_runner_that_went_silent_after_start_leaves_it_indeterminate(gate: Gate) -> None:
    operation, _ = await gate.applied()
    await silent(gate)
    found = await unknown(gate, operation)
    assert found.effect_shown is not None
    assert found.effect_shown.value == "unknown"
    assert await gate.lock_state("web-dev") == "quarantined"


async def test_a_receipt_without_a_report_leaves_it_indeterminate(gate: Gate) -> None:
    """The runner died, came back and tore down: what the dead one did is still unknown."""
    operation, lease = await gate.applied()
    await gate.runner().receipt(lease)
    await unknown(gate, operation)
    assert await gate.lock_state("web-dev") == "free", "teardown was proven"


@pytest.mark.parametrize("status", ["ok", "failed", "timeout", "killed", "refused"])
async def test_without_verify_nobody_knows(gate: Gate, status: str) -> None:
    """Whatever the tool said of itself."""
    operation, lease = await gate.applied()
    runner = gate.runner()
    assert await runner.report(lease, runner.stage(lease, Stage.APPLY, status=status)) == "indeterminate"
    await unknown(gate, operation)


async def test_a_verify_that_could_not_look_shows_nothing(gate: Gate) -> None:
    operation, lease = await gate.applied()
    runner = gate.runner()
    blind = runner.stage(lease, Stage.VERIFY, status="failed")
    assert await runner.report(lease, runner.stage(lease, Stage.APPLY), blind) == "indeterminate"
    await unknown(gate, operation)


async def test_a_restart_of_the_gateway_does_not_soften_it(gate: Gate) -> None:
    operation, _ = await gate.applied()
    await gate.close()
    await gate.open()
    await silent(gate)
    await unknown(gate, operation)


@pytest.mark.parametrize("how", ["give_back", "refuse"])
async def test_a_started_apply_cannot_be_given_back(gate: Gate, how: str) -> None:
    operation, lease = await gate.applied()
    stop = Stop(lease.grant.fence, "I would rather not")
    await getattr(gate.door, how)(gate.runner().peer, lease.attempt, stop)
    assert (await gate.operation(operation)).state.value == "running"
    await silent(gate)
    await unknown(gate, operation)


async def test_a_wish_to_cancel_is_only_noted(gate: Gate) -> None:
    operation, lease = await gate.applied()
    cancelled = await gate.desk.cancel(operation.principal, operation.id)
    assert (cancelled.state.value, cancelled.cancel_requested) == ("running", True)
    beat = await gate.door.heartbeat(gate.runner().peer, lease.attempt, Heartbeat(lease.grant.fence))
    assert not beat.cancel
    await silent(gate)
    assert (await gate.desk.cancel(operation.principal, operation.id)).state.value == "indeterminate"


async def test_the_late_report_of_the_same_fence_settles_it(gate: Gate) -> None:
    operation, lease = await gate.applied()
    await silent(gate)
    runner = gate.runner()
    state = await runner.report(lease, runner.stage(lease, Stage.APPLY), runner.stage(lease, Stage.VERIFY, plan=EMPTY))
    assert state == "succeeded"
    assert (await gate.operation(operation)).effect_shown.value == "full"  # type: ignore[union-attr]


async def test_nobody_else_settles_it_but_a_human(gate: Gate) -> None:
    operation, lease = await gate.applied()
    await silent(gate)
    runner = gate.runner()
    forged = [runner.stage(lease, Stage.APPLY), runner.stage(lease, Stage.VERIFY, plan=EMPTY, fence=99)]
    with pytest.raises(BadInput, match="not this attempt's"):
        await runner.report(lease, *forged)
    await runner.receipt(lease)
    resolved = await gate.desk.resolve(human("root", "admin"), operation.id, "failed_none", "looked at the target")
    assert (resolved.state.value, resolved.effect_shown) == ("failed", "none")


async def test_before_start_a_lost_lease_goes_back_to_the_queue(gate: Gate) -> None:
    """The counterpart: without a permit nothing can have happened, so it is tried again."""
    operation, lease = await gate.applying()
    await silent(gate)
    assert (await gate.operation(operation)).state.value == "queued"
    await gate.runner().receipt(lease)
    again = await gate.runner("runner-2").take()
    assert (again.grant.operation, again.grant.fence) == (operation.id, lease.grant.fence + 1)


async def test_verify_decides_what_the_effect_was(gate: Gate) -> None:
    for plan, expected in ((EMPTY, "full"), (plan_bytes("delete"), "partial"), (plan_bytes(), "none")):
        operation, lease = await gate.applied()
        runner = gate.runner()
        await runner.report(lease, runner.stage(lease, Stage.APPLY), runner.stage(lease, Stage.VERIFY, plan=plan))
        assert (await gate.operation(operation)).effect_shown.value == expected  # type: ignore[union-attr]
        await runner.receipt(lease)
