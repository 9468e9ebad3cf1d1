"""Cancel in every state, and what time ends: deadlines, leases, approvals; with the locks that go with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import EMPTY, agent, human, plan_bytes

from lockgate.contract.intent import Stage
from lockgate.contract.keyset import KeyRole
from lockgate.contract.runnerapi import Heartbeat, Stop
from lockgate.gateway.errors import Clash, NotFound
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.scheduling.sweep import sweep

ADMIN = human("root", "admin")


async def silent(gate: Gate) -> None:
    gate.clock.advance(gate.core.timing.lease + 1)
    await sweep(gate.core)


async def cancelled(gate: Gate, operation: Operation) -> Operation:
    answer = await gate.desk.cancel(operation.principal, operation.id)
    assert await gate.operation(operation) == answer
    assert "cancel.requested" in await gate.kinds(operation)
    return answer


async def test_cancel_while_queued(gate: Gate) -> None:
    operation = await gate.ask()
    assert (await cancelled(gate, operation)).state.value == "cancelled"
    assert await gate.runner().poll() is None


async def test_cancel_while_leased_stops_the_start(gate: Gate) -> None:
    operation = await gate.ask()
    lease = await gate.runner().take()
    assert (await cancelled(gate, operation)).state.value == "cancelled"
    assert (await gate.runner().start(lease)).permit is None
    beat = await gate.door.heartbeat(gate.runner().peer, lease.attempt, Heartbeat(lease.grant.fence))
    assert beat.cancel


async def test_cancel_while_a_plan_runs(gate: Gate) -> None:
    operation = await gate.ask()
    runner = gate.runner()
    lease = await runner.take()
    await runner.start(lease)
    assert (await cancelled(gate, operation)).state.value == "cancelled"
    with pytest.raises(Clash):
        await runner.report(lease, runner.stage(lease, Stage.PLAN, plan=plan_bytes()))
    assert await runner.receipt(lease) == "cancelled"


async def test_cancel_while_pending(gate: Gate) -> None:
    operation = await gate.pending()
    assert (await cancelled(gate, operation)).state.value == "cancelled"


async def test_cancel_of_a_leased_apply_frees_the_target_with_its_receipt(gate: Gate) -> None:
    operation, lease = await gate.applying()
    assert (await cancelled(gate, operation)).state.value == "cancelled"
    assert (await gate.runner().start_apply(lease)).permit is None
    await gate.runner().receipt(lease)
    assert await gate.lock_state("web-dev") == "free"


async def test_cancel_of_a_running_apply_is_noted_and_changes_nothing(gate: Gate) -> None:
    operation, lease = await gate.applied()
    noted = await cancelled(gate, operation)
    assert (noted.state.value, noted.cancel_requested) == ("running", True)
    runner = gate.runner()
    state = await runner.report(lease, runner.stage(lease, Stage.APPLY), runner.stage(lease, Stage.VERIFY, plan=EMPTY))
    assert state == "succeeded"


async def test_cancel_of_what_has_ended_changes_nothing(gate: Gate) -> None:
    operation = await gate.ask(agent(roles=()))
    before = await gate.operation(operation)
    assert await gate.desk.cancel(operation.principal, operation.id) == before


async def test_nobody_cancels_what_is_not_theirs(gate: Gate) -> None:
    operation = await gate.ask()
    with pytest.raises(NotFound):
        await gate.desk.cancel(agent("another"), operation.id)
    with pytest.raises(NotFound):
        await gate.desk.cancel(operation.principal, "op_unknown")
    assert (await gate.desk.cancel(ADMIN, operation.id)).state.value == "cancelled", "policy lets an admin"


async def test_a_deadline_ends_what_was_never_done(gate: Gate) -> None:
    operation = await gate.ask()
    gate.clock.advance(gate.core.timing.operation_deadline - 1)
    assert await sweep(gate.core) == 0
    gate.clock.advance(1)
    assert await sweep(gate.core) == 1
    assert (await gate.operation(operation)).state.value == "expired"
    assert await sweep(gate.core) == 0


async def test_a_lost_plan_goes_back_three_times_and_then_fails(gate: Gate) -> None:
    operation = await gate.ask()
    for turn in range(4):
        assert (await gate.operation(operation)).lease_retries == turn
        await gate.runner().take()
        await silent(gate)
    ended = await gate.operation(operation)
    assert (ended.state.value, ended.effect_shown) == ("failed", "none")


async def test_what_is_given_back_three_times_fails_at_the_next(gate: Gate) -> None:
    operation = await gate.ask()
    for _ in range(4):
        lease = await gate.runner().take()
        state = (await gate.door.give_back(gate.runner().peer, lease.attempt, Stop(lease.grant.fence, "full"))).state
        await gate.runner().receipt(lease)
    assert state == "failed"
    assert (await gate.operation(operation)).effect_shown == "none"


async def test_a_refused_grant_fails_and_alarms(gate: Gate) -> None:
    operation = await gate.ask()
    lease = await gate.runner().take()
    await gate.door.refuse(gate.runner().peer, lease.attempt, Stop(lease.grant.fence, "limits.memory_bytes: is wider"))
    ended = await gate.operation(operation)
    assert ended.state.value == "failed"
    assert "limits.memory_bytes" in ended.message
    assert {"grant.refused", "alarm"} <= set(await gate.kinds(operation))


async def test_a_started_apply_that_is_lost_quarantines_the_target_until_its_receipt(gate: Gate) -> None:
    operation, lease = await gate.applied()
    await silent(gate)
    assert await gate.lock_state("web-dev") == "quarantined"
    assert {"lease.lost", "lock.quarantined"} <= set(await gate.kinds(operation))
    waiting = await gate.planned(await gate.ask())
    assert await gate.runner().poll() is None
    assert "quarantined" in str((await gate.operation(waiting)).waiting_for)
    await gate.runner().receipt(lease)
    assert await gate.lock_state("web-dev") == "free"
    assert (await gate.runner().take()).grant.operation == waiting.id
    assert (await gate.operation(operation)).state.value == "indeterminate", "proof of teardown is no proof of effect"


async def test_an_unproven_teardown_keeps_the_target_until_a_human_opens_it(gate: Gate) -> None:
    operation, lease = await gate.applied()
    runner = gate.runner()
    await runner.report(lease, runner.stage(lease, Stage.APPLY), runner.stage(lease, Stage.VERIFY, plan=EMPTY))
    await runner.receipt(lease, gone=False)
    assert await gate.lock_state("web-dev") == "quarantined"
    assert "alarm" in await gate.kinds(operation)
    lock = await gate.desk.unlock(ADMIN, "web-dev", "looked at the machine")
    assert lock.state.value == "free"
    with pytest.raises(Clash, match="quarantined"):
        await gate.desk.unlock(ADMIN, "web-dev", "once more")


async def test_one_apply_at_a_time_per_target(gate: Gate) -> None:
    first, lease = await gate.applied()
    second = await gate.planned(await gate.ask())
    assert await gate.runner("runner-2").poll() is None
    assert "lock:web-dev" in str((await gate.operation(second)).waiting_for)
    runner = gate.runner()
    await runner.report(lease, runner.stage(lease, Stage.APPLY), runner.stage(lease, Stage.VERIFY, plan=EMPTY))
    assert await gate.runner("runner-2").poll() is None, "not before the teardown is proven"
    await runner.receipt(lease)
    assert (await gate.runner("runner-2").take()).grant.operation == second.id
    assert (await gate.operation(first)).state.value == "succeeded"


@pytest.mark.parametrize(
    ("outcome", "state", "effect"),
    [("succeeded", "succeeded", "full"), ("failed_none", "failed", "none"), ("failed_partial", "failed", "partial")],
)
async def test_a_human_resolves_what_nobody_knows(gate: Gate, outcome: str, state: str, effect: str) -> None:
    operation, lease = await gate.applied()
    with pytest.raises(Clash, match="only an indeterminate"):
        await gate.desk.resolve(ADMIN, operation.id, outcome, "I looked")
    await silent(gate)
    await gate.runner().receipt(lease)
    ended = await gate.desk.resolve(ADMIN, operation.id, outcome, "I looked")
    assert (ended.state.value, ended.effect_shown) == (state, effect)
    assert "operation.resolved" in await gate.kinds(operation)


async def test_what_may_still_be_written_to_is_not_resolved(gate: Gate) -> None:
    """TRUST §5: only when the writer is dead: the receipt, or the wall limit plus a margin after the lease's end."""
    operation, lease = await gate.applied()
    until = (await gate.attempt(lease.attempt)).lease_until
    await silent(gate)
    dead_at = until + (lease.grant.limits.wall_seconds + 120) * 1000
    gate.clock.now = dead_at - 1
    with pytest.raises(Clash, match="teardown is not proven") as refused:
        await gate.desk.resolve(ADMIN, operation.id, "failed_none", "I looked")
    assert datetime.fromtimestamp(dead_at // 1000, UTC).isoformat() in refused.value.fix
    assert refused.value.retry_after == 0.001
    await gate.runner().receipt(lease, gone=False)
    with pytest.raises(Clash, match="teardown is not proven"):
        await gate.desk.resolve(ADMIN, operation.id, "failed_none", "I looked")
    gate.clock.now = dead_at
    assert (await gate.desk.resolve(ADMIN, operation.id, "failed_none", "I looked")).state.value == "failed"


async def test_a_grant_nobody_vouches_for_any_more_keeps_its_writer_alive_the_longest(gate: Gate) -> None:
    operation, lease = await gate.applied()
    until = (await gate.attempt(lease.attempt)).lease_until
    await silent(gate)
    others = tuple(key for key in gate.core.keyset.keys if key.role is not KeyRole.GRANT)
    gate.core.keyset = replace(gate.core.keyset, keys=others)
    gate.clock.now = until + (lease.grant.limits.wall_seconds + 120) * 1000
    with pytest.raises(Clash, match="teardown is not proven"):
        await gate.desk.resolve(ADMIN, operation.id, "failed_none", "I looked")
    gate.clock.now = until + (86_400 + 120) * 1000
    assert (await gate.desk.resolve(ADMIN, operation.id, "failed_none", "I looked")).state.value == "failed"
