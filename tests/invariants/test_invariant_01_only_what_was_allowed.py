"""Invariant 1: no tool runs without a durable allow decision for exactly its digests: the inputs' for plan, the plan's for apply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.invariants.conftest import MakeEngine
from tests.invariants.gate import Gate, Lease
from tests.invariants.parties import EMPTY, INPUTS, OTHER_INPUTS, REASON, agent, plan_bytes
from tests.unit.job.conftest import Desk

from lockgate.contract.intent import Phase, Stage
from lockgate.contract.runnerapi import StageReport
from lockgate.gateway.errors import BadInput, Refusal
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.store.port import AuditEntries, DecisionsOf, GetDecision

NOBODY_MAY = ("questions: [list, request, plan, apply]\n", "questions: [list]\n")


async def offered(gate: Gate) -> Lease | None:
    """What a runner is handed now; a refusal is nothing."""
    try:
        return await gate.runner().poll()
    except Refusal:
        return None


async def test_a_denied_request_is_never_leased(gate: Gate) -> None:
    operation = await gate.ask(agent(roles=()))
    assert operation.state.value == "denied"
    assert await offered(gate) is None
    assert await gate.envelopes(operation, "grant") == []


async def test_what_policy_no_longer_allows_is_not_leased_for_plan(gate: Gate, library: MakeEngine) -> None:
    operation = await gate.ask()
    gate.core.policy = library(NOBODY_MAY)
    assert await offered(gate) is None
    assert await gate.envelopes(operation, "grant") == []
    assert (await gate.operation(operation)).state.value == "denied"


async def test_what_policy_no_longer_allows_is_not_leased_for_apply(gate: Gate, library: MakeEngine) -> None:
    operation = await gate.planned(await gate.ask())
    assert (operation.state.value, operation.phase) == ("queued", Phase.APPLY)
    gate.core.policy = library(NOBODY_MAY)
    assert await offered(gate) is None
    assert len(await gate.envelopes(operation, "grant")) == 1, "the plan's"


async def test_what_policy_no_longer_allows_does_not_start(gate: Gate, library: MakeEngine) -> None:
    operation, lease = await gate.applying()
    gate.core.policy = library(NOBODY_MAY)
    try:
        permit = (await gate.runner().start_apply(lease)).permit
    except Refusal:
        permit = None
    assert permit is None
    assert (await gate.operation(operation)).state.value == "denied"


async def durable_allow(gate: Gate, decision: str, operation: Operation) -> dict[str, object]:
    record = await gate.store.read(GetDecision(decision))
    assert record is not None
    assert (record.operation, record.allow) == (operation.id, True)
    logged = [
        entry.body
        for entry in await gate.store.read(AuditEntries(operation=operation.id))
        if entry.kind == "decision.made" and entry.body["decision"] == decision
    ]
    assert [body["allow"] for body in logged] == [True]
    assert record.input is not None
    document: dict[str, object] = json.loads(record.input.data())
    return document


async def test_every_grant_and_start_stands_on_a_recorded_allow_for_its_digests(gate: Gate) -> None:
    operation, lease = await gate.applied()
    plan = operation.plan
    assert plan is not None
    assert lease.grant.plan is not None
    assert lease.grant.plan.semantic_sha256 == plan.semantic_sha256
    assert lease.grant.inputs_sha256 == plan.inputs_sha256 == INPUTS
    granted = await durable_allow(gate, lease.grant.policy.decision, operation)
    assert granted["question"] == "apply"
    assert granted["plan"]["digests"]["semantic_sha256"] == plan.semantic_sha256  # type: ignore[index]
    attempt = await gate.attempt(lease.attempt)
    started = await durable_allow(gate, attempt.decision, operation)
    assert attempt.decision != lease.grant.policy.decision, "decided again at start"
    assert started["plan"]["digests"]["inputs_sha256"] == attempt.inputs_sha256 == INPUTS  # type: ignore[index]
    starts = [e for e in await gate.store.read(AuditEntries(operation=operation.id)) if e.kind == "start.committed"]
    assert [entry.body["inputs_sha256"] for entry in starts] == [INPUTS, INPUTS]
    assert {record.question for record in await gate.store.read(DecisionsOf(operation.id))} == {
        "request",
        "plan",
        "apply",
    }


async def test_a_plan_made_from_other_inputs_than_those_started_is_refused(gate: Gate) -> None:
    await gate.ask()
    runner = gate.runner()
    lease = await runner.take()
    assert runner.permit(await runner.start(lease, inputs=INPUTS)).inputs_sha256 == INPUTS
    foreign = runner.stage(lease, Stage.PLAN, plan=plan_bytes(inputs=OTHER_INPUTS))
    with pytest.raises(BadInput, match="not what this attempt started with"):
        await runner.report(lease, foreign)


async def test_a_plan_that_is_not_the_one_its_manifest_states_is_refused(gate: Gate) -> None:
    """What policy decides on is recomputed from the bytes; a summary is not believed."""
    await gate.ask()
    runner = gate.runner()
    lease = await runner.take()
    await runner.start(lease)
    harmless = runner.stage(lease, Stage.PLAN, plan=EMPTY)
    swapped = StageReport(harmless.manifest, plan_bytes("delete").decode(), None)
    with pytest.raises(BadInput, match="do not have the digests"):
        await runner.report(lease, swapped)


async def test_the_grant_speaks_of_exactly_what_was_asked(gate: Gate) -> None:
    operation = await gate.ask()
    lease = await gate.runner().take()
    assert lease.grant.intent_sha256 == operation.intent_sha256
    assert lease.offer.work.intent["arguments"] == {"replicas": 3}
    assert lease.offer.work.intent["reason"] == REASON


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A real job process over a socketpair, with a source whose commands leave a trace when they run."""
    made = Desk(tmp_path)
    source = tmp_path / "source"
    (source / "runbook.toml").write_text(
        'version = 1\n[tasks.touch]\ncheck = ["./check"]\napply = ["./apply"]\n[tasks.touch.parameters]\n'
    )
    for name, text in {"check": "touch ran; exit 2", "apply": "touch ran"}.items():
        (source / name).write_text(f"#!/bin/sh\n{text}\n")
        (source / name).chmod(0o755)
    yield made
    for child in made.children:
        child.kill()
        child.communicate()


def test_the_job_runs_nothing_on_inputs_other_than_the_permits(desk: Desk) -> None:
    allowed, other = desk.inputs("touch"), desk.inputs("touch", settings={"colour": "red"})
    grant = desk.grant(None, phase=Phase.PLAN)
    job = desk.start()
    job.receive("hello")
    job.send_inputs(Stage.PLAN, grant, other, desk.permit(grant, allowed, phase=Phase.PLAN))
    answer = job.channel.recv(1)
    assert answer == b"", "the job must end without `ready`"
    assert "inputs" in job.refused()
    assert not (desk.base / "scratch" / "ran").exists()


def test_the_job_applies_nothing_on_inputs_other_than_the_grants(desk: Desk) -> None:
    allowed, other = desk.inputs("touch"), desk.inputs("touch", settings={"colour": "red"})
    job = desk.start()
    job.receive("hello")
    job.send_inputs(Stage.APPLY, desk.grant(allowed), other)
    assert job.channel.recv(1) == b""
    assert "inputs" in job.refused()
    assert not (desk.base / "scratch" / "ran").exists()


def test_the_job_applies_nothing_with_a_permit_for_another_grant(desk: Desk) -> None:
    inputs = desk.inputs("touch")
    grant, another = desk.grant(inputs), desk.grant(inputs, fence=8)
    job = desk.start()
    job.receive("hello")
    job.send_inputs(Stage.APPLY, grant, inputs)
    job.receive("ready")
    job.send("go", permit=desk.permit(another, inputs))
    assert job.receive("result")["status"] == "refused"
    assert not (desk.base / "scratch" / "ran").exists()
