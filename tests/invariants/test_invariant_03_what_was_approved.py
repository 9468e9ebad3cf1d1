"""Invariant 3: what is applied is byte for byte what was approved; if a derived re-plan ending at most 30 s before `go` differs, nothing is."""

from __future__ import annotations

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import INPUTS, OTHER_INPUTS, human, plan_bytes
from tests.invariants.region import TOOL, Region

from lockgate.contract.decision import Question
from lockgate.contract.intent import Phase, Stage
from lockgate.gateway.errors import BadInput, Clash
from lockgate.gateway.operations.judging import judge
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.states import Event

CHANGED = plan_bytes("delete")


async def planned_again(gate: Gate, operation: Operation) -> Operation:
    """The operation, which must be queued for a new plan, with no permit for apply ever given."""
    now = await gate.operation(operation)
    assert (now.state.value, now.phase) == ("queued", Phase.PLAN)
    assert len(await gate.envelopes(operation, "permit")) == 1, "the plan's only"
    assert "check.differed" in await gate.kinds(operation)
    return now


async def test_other_inputs_than_the_approved_ones_are_not_started(gate: Gate) -> None:
    """The check may say what it likes: the permit would name these inputs."""
    operation, lease = await gate.applying("web-prod")
    runner = gate.runner()
    approved = runner.stage(lease, Stage.CHECK, plan=plan_bytes())
    answer = await runner.start(lease, inputs=OTHER_INPUTS, check=approved)
    assert (answer.permit, answer.differs) == (None, True)
    await planned_again(gate, operation)


async def test_a_check_that_plans_something_else_stops_the_apply(gate: Gate) -> None:
    operation, lease = await gate.applying("web-prod")
    answer = await gate.runner().start_apply(lease, plan=CHANGED)
    assert (answer.permit, answer.differs) == (None, True)
    await planned_again(gate, operation)


async def test_a_check_of_other_inputs_stops_the_apply(gate: Gate) -> None:
    operation, lease = await gate.applying("web-prod")
    answer = await gate.runner().start_apply(lease, plan=plan_bytes(inputs=OTHER_INPUTS))
    assert (answer.permit, answer.differs) == (None, True)
    await planned_again(gate, operation)


async def test_a_check_that_ended_too_long_ago_is_not_enough(gate: Gate) -> None:
    _, lease = await gate.applying()
    runner = gate.runner()
    late = await runner.start_apply(lease, ended_ms_ago=30_001)
    assert late.permit is None
    assert "check again" in str(late.refused)
    assert (await runner.start_apply(lease, ended_ms_ago=30_000)).permit is not None


@pytest.mark.parametrize("status", ["failed", "timeout", "incomplete", "refused", "killed"])
async def test_a_check_that_did_not_succeed_is_no_check(gate: Gate, status: str) -> None:
    _, lease = await gate.applying()
    with pytest.raises(BadInput, match="check"):
        await gate.runner().start_apply(lease, status=status)


async def test_an_apply_without_a_check_does_not_start(gate: Gate) -> None:
    _, lease = await gate.applying()
    runner = gate.runner()
    with pytest.raises(BadInput, match="check stage's manifest"):
        await runner.start(lease)
    with pytest.raises(BadInput, match="where check was due"):
        await runner.start(lease, check=runner.stage(lease, Stage.PLAN, plan=plan_bytes()))


async def test_a_check_signed_by_another_runner_is_refused(gate: Gate) -> None:
    _, lease = await gate.applying()
    with pytest.raises(BadInput, match="another runner's key"):
        await gate.runner().start_apply(lease, signer=gate.runner("runner-2").key)


async def test_a_vote_is_for_the_plan_that_was_displayed_only(gate: Gate) -> None:
    from lockgate.gateway.doors import VoteCall

    operation = await gate.pending()
    plan = operation.plan
    assert plan is not None
    for call in (
        VoteCall(operation.id, "approve", plan.semantic_sha256, OTHER_INPUTS, ""),
        VoteCall(operation.id, "approve", OTHER_INPUTS, plan.inputs_sha256, ""),
    ):
        with pytest.raises(Clash, match="changed since it was displayed"):
            await gate.desk.vote(human("carol"), call)
    with pytest.raises(BadInput, match="displayed"):
        await gate.desk.vote(human("carol"), VoteCall(operation.id, "approve", "", "", ""))


async def test_votes_on_the_old_plan_do_not_count_for_the_new_one(gate: Gate) -> None:
    operation, lease = await gate.applying("web-prod")
    assert (await gate.runner().start_apply(lease, plan=CHANGED)).differs
    await gate.runner().receipt(lease)
    again = await gate.planned(operation, CHANGED)
    assert again.state.value == "pending_approval"
    assert (await judge(gate.core, again, question=Question.APPLY)).event is Event.APPROVAL_MISSING
    assert await gate.runner().poll() is None
    assert (await gate.vote(again, human("carol"))).state.value == "queued", "the same voter, on the new plan"


async def test_the_grant_for_apply_names_the_approved_digests(gate: Gate) -> None:
    operation, lease = await gate.applying("web-prod")
    assert operation.plan is not None
    assert lease.grant.inputs_sha256 == INPUTS == operation.plan.inputs_sha256
    assert lease.grant.plan is not None
    assert lease.grant.plan.semantic_sha256 == operation.plan.semantic_sha256


async def test_a_source_edited_after_approval_is_not_applied(gate: Gate, region: Region) -> None:
    """A real runner and real sandboxes: what is sealed at apply must be what was sealed at plan."""
    operation = await gate.ask()
    await region.work()
    region.write_source("tool", TOOL.replace('echo "$2" > "$state"', 'echo 20 > "$state"'))
    await region.work()
    assert region.state() is None, "nothing was applied"
    await planned_again(gate, operation)


async def test_a_source_edited_while_it_is_applied_changes_nothing(gate: Gate, region: Region) -> None:
    """Between start and apply the live source is edited; the sandbox sees the sealed copy."""
    operation = await gate.ask()
    await region.work()

    async def edited() -> None:
        region.write_source("tool", TOOL.replace('echo "$2" > "$state"', 'echo 20 > "$state"'))

    region.line.on_answer["start"] = edited
    await region.work()
    assert region.state() == "3"
    assert (await gate.operation(operation)).state.value == "succeeded"


async def test_a_target_that_moved_since_approval_is_not_touched(gate: Gate, region: Region) -> None:
    operation = await gate.ask()
    await region.work()
    (region.target / "replicas").write_text("7\n")
    await region.work()
    assert region.state() == "7", "nothing was applied"
    await planned_again(gate, operation)


async def test_go_is_not_said_on_a_check_that_has_grown_old(gate: Gate, region: Region) -> None:
    """Everything was fresh at start; then the runner stalled for half a minute."""
    operation = await gate.ask()
    await region.work()

    async def stalled() -> None:
        region.lag += 31_000

    region.line.on_answer["start"] = stalled
    await region.work()
    assert region.state() is None, "nothing was applied"
    ended = await gate.operation(operation)
    assert "too old" in ended.message
    assert (ended.state.value, ended.effect_shown) == ("failed", "none")


async def test_what_was_approved_is_applied(gate: Gate, region: Region) -> None:
    """The counterpart, over the same way."""
    operation = await gate.ask()
    await region.work()
    await region.work()
    assert region.state() == "3"
    assert (await gate.operation(operation)).effect_shown == "full"
