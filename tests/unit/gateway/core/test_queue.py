"""What waits hides nobody else, and nobody fills the queue or the runners alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import REASON, agent, human

from lockgate.gateway.core import Caps
from lockgate.gateway.errors import TooMany


async def test_a_full_queue_is_said_before_deciding_and_a_repeat_still_gets_its_own(gate: Gate) -> None:
    gate.core.caps = Caps(queued=1)
    first = await gate.ask(idempotency_key="one")
    assert first.state.value == "queued"
    assert (await gate.ask(idempotency_key="one")).id == first.id
    with pytest.raises(TooMany) as caught:
        await gate.ask(idempotency_key="two")
    assert caught.value.retry_after


async def test_a_full_queue_takes_no_known_plan_either(gate: Gate) -> None:
    planned = await gate.planned(await gate.ask(dry_run=True))
    assert planned.plan is not None
    arguments = {"operation_id": planned.id, "semantic_sha256": planned.plan.semantic_sha256, "reason": "as shown"}
    gate.core.caps = Caps(queued=0)
    with pytest.raises(TooMany):
        await gate.desk.apply_plan(planned.principal, arguments)


async def test_a_tenant_with_its_share_of_runners_waits_and_says_so(gate: Gate) -> None:
    gate.core.caps = Caps(running=0)
    asked = await gate.ask()
    assert await gate.runner().poll() is None
    assert str((await gate.operation(asked)).waiting_for).startswith("capacity:")
    gate.core.caps = replace(gate.core.caps, running=1)
    assert await gate.runner().poll() is not None


async def test_what_waits_on_one_target_hides_no_other(gate: Gate) -> None:
    await gate.desk.freeze(human("carol", "admin"), "target:web-dev", True, "let it rest")
    for number in range(70):
        gate.clock.advance(1)
        await gate.ask(replicas=number % 20, idempotency_key=f"flood-{number}")
    other = await gate.ask(target="web-prod")
    lease = await gate.runner().poll()
    assert lease is not None and lease.grant.operation == other.id


async def test_denied_calls_take_no_room(gate: Gate) -> None:
    gate.core.caps = Caps(queued=1)
    for number in range(5):
        assert (await gate.ask(agent(roles=()), idempotency_key=f"no-{number}")).state.value == "denied"
    assert (await gate.ask(idempotency_key="yes")).state.value == "queued"


async def test_applying_a_plan_needs_room_too(gate: Gate) -> None:
    planned = await gate.planned(await gate.ask(dry_run=True))
    assert planned.plan is not None
    gate.core.caps = Caps(queued=0)
    gate.clock.advance(1_000)
    arguments = {"operation_id": planned.id, "semantic_sha256": planned.plan.semantic_sha256, "reason": REASON}
    with pytest.raises(TooMany):
        await gate.desk.apply_plan(agent(), arguments)
