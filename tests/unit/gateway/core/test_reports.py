"""What a runner's reports and receipts may and may not do."""

from __future__ import annotations

from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import EMPTY, OTHER_INPUTS, plan_bytes

from lockgate.contract.intent import Stage
from lockgate.contract.runnerapi import StageReport
from lockgate.gateway.errors import BadInput, Clash, NotFound, Refusal
from lockgate.gateway.scheduling.sweep import sweep


async def test_a_plan_that_was_never_started_is_not_taken(gate: Gate) -> None:
    """Without a start there was no permit: whatever ran, it was not allowed to."""
    operation = await gate.ask()
    runner = gate.runner()
    lease = await runner.take()
    with pytest.raises(Refusal):
        await runner.report(lease, runner.stage(lease, Stage.PLAN, plan=plan_bytes()))
    assert (await gate.operation(operation)).state.value == "leased"


async def test_a_read_that_was_never_started_is_not_taken(gate: Gate) -> None:
    operation = await gate.ask(action="service_status")
    runner = gate.runner()
    lease = await runner.take()
    with pytest.raises(Refusal):
        await runner.report(lease, runner.stage(lease, Stage.READ, output="replicas: 3"))
    assert (await gate.operation(operation)).state.value == "leased"


async def test_an_apply_that_was_never_started_is_not_taken(gate: Gate) -> None:
    operation, lease = await gate.applying()
    runner = gate.runner()
    with pytest.raises(BadInput):
        await runner.report(lease, runner.stage(lease, Stage.APPLY), runner.stage(lease, Stage.VERIFY, plan=EMPTY))
    assert (await gate.operation(operation)).state.value == "leased"


async def test_a_read_ends_with_its_output(gate: Gate) -> None:
    operation = await gate.ask(action="service_status")
    runner = gate.runner()
    lease = await runner.take()
    await runner.start(lease)
    assert await runner.report(lease, runner.stage(lease, Stage.READ, output="replicas: 3")) == "succeeded"
    assert (await gate.operation(operation)).output == "replicas: 3"


async def test_a_failed_check_ends_it_with_nothing_changed(gate: Gate) -> None:
    operation, lease = await gate.applying()
    runner = gate.runner()
    state = await runner.report(lease, runner.stage(lease, Stage.CHECK, status="failed", detail="no such host"))
    assert state == "failed"
    ended = await gate.operation(operation)
    assert ended.effect_shown == "none"
    assert "no such host" in ended.message


@pytest.mark.parametrize("status", ["failed", "timeout", "killed", "incomplete", "refused"])
async def test_a_failed_plan_ends_it_with_nothing_changed(gate: Gate, status: str) -> None:
    operation = await gate.ask()
    runner = gate.runner()
    lease = await runner.take()
    await runner.start(lease)
    assert await runner.report(lease, runner.stage(lease, Stage.PLAN, status=status)) == "failed"
    assert (await gate.operation(operation)).effect_shown == "none"


async def test_a_plan_stage_that_says_ok_must_bring_its_plan(gate: Gate) -> None:
    await gate.ask()
    runner = gate.runner()
    lease = await runner.take()
    await runner.start(lease)
    with pytest.raises(BadInput, match="plan"):
        await runner.report(lease, runner.stage(lease, Stage.PLAN))


@pytest.mark.parametrize("stages", [(), (Stage.READ,), (Stage.PLAN, Stage.PLAN), (Stage.APPLY,)])
async def test_a_report_has_its_due_stages_and_no_others(gate: Gate, stages: tuple[Stage, ...]) -> None:
    await gate.ask()
    runner = gate.runner()
    lease = await runner.take()
    await runner.start(lease)
    with pytest.raises(BadInput):
        await runner.report(lease, *(runner.stage(lease, stage, plan=plan_bytes()) for stage in stages))


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "op_other"},
        {"attempt": "at_other"},
        {"fence": 99},
        {"tenant": "other"},
        {"grant_sha256": OTHER_INPUTS},
        {"runner": "runner-2"},
        {"region": "far"},
        {"dev": False},
        {"deployment": "another"},
    ],
    ids=str,
)
async def test_a_manifest_about_something_else_is_refused(gate: Gate, change: dict[str, Any]) -> None:
    await gate.ask()
    runner = gate.runner()
    lease = await runner.take()
    await runner.start(lease)
    with pytest.raises(BadInput):
        await runner.report(lease, runner.stage(lease, Stage.PLAN, plan=plan_bytes(), **change))


async def test_a_manifest_that_is_no_envelope_is_refused(gate: Gate) -> None:
    await gate.ask()
    runner = gate.runner()
    lease = await runner.take()
    await runner.start(lease)
    for text in ("", "{}", "not json", '{"payload":"e30=","payloadType":"x","signatures":[]}'):
        with pytest.raises(BadInput, match=r"envelope|JSON|payload"):
            await runner.report(lease, StageReport(text, None, None))


async def test_another_runner_reports_and_tears_down_nothing(gate: Gate) -> None:
    await gate.ask()
    lease = await gate.runner().take()
    await gate.runner().start(lease)
    other = gate.runner("runner-2")
    with pytest.raises(NotFound):
        await other.report(lease, other.stage(lease, Stage.PLAN, plan=plan_bytes()))
    with pytest.raises(NotFound):
        await other.receipt(lease)


async def test_an_overtaken_attempt_reports_nothing_but_may_tear_down(gate: Gate) -> None:
    operation = await gate.ask()
    runner = gate.runner()
    old = await runner.take()
    await runner.start(old)
    gate.clock.advance(gate.core.timing.lease + 1)
    await sweep(gate.core)
    await gate.runner("runner-2").take()
    with pytest.raises(Clash, match="no longer speaks"):
        await runner.report(old, runner.stage(old, Stage.PLAN, plan=plan_bytes()))
    assert await runner.receipt(old) == "leased"
    assert (await gate.attempt(old.attempt)).state == "torn_down"
    assert (await gate.operation(operation)).state.value == "leased"


async def test_a_receipt_may_come_twice(gate: Gate) -> None:
    operation = await gate.ask(dry_run=True)
    runner = gate.runner()
    lease = await runner.take()
    await runner.start(lease)
    await runner.report(lease, runner.stage(lease, Stage.PLAN, plan=plan_bytes()))
    for _ in range(2):
        assert await runner.receipt(lease) == "planned"
    assert (await gate.attempt(lease.attempt)).state == "torn_down"
    assert (await gate.kinds(operation)).count("receipt.received") == 1
