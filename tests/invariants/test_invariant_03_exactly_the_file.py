"""Invariant 3, exact fidelity: what is applied is byte for byte the plan file whose meaning was derived and approved."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.invariants.exact import (
    BLANK,
    EMPTY_FILE,
    PLAN_FILE,
    Works,
    change,
    mark,
    planned,
    state,
    writes,
)
from tests.invariants.gate import Lease
from tests.invariants.parties import INPUTS, plan_bytes

from lockgate.contract.canonical import canonical
from lockgate.contract.codec import to_document
from lockgate.contract.grant import read_grant
from lockgate.contract.intent import Stage
from lockgate.contract.plan import Fidelity, PlanDocument
from lockgate.contract.runnerapi import LeaseRequest
from lockgate.gateway.errors import BadInput
from lockgate.runner.keeping.handing import hand_out
from lockgate.runner.recovery import recover

OTHER_FILE = b"PK another plan"


async def queued(works: Works) -> str:
    """An operation that is planned and allowed, not yet applied."""
    operation = await works.ask()
    await works.work()
    assert (await works.gate.operation(operation)).state.value == "queued"
    return operation


async def test_what_a_hostile_plan_stage_says_of_its_plan_counts_for_nothing(works: Works) -> None:
    lie = replace(
        planned(PLAN_FILE),
        changes=(change("no-op"),),
        document={"lie": True},
        provisioners=("lie",),
        incomplete=("lie",),
    )
    works.plays["plan"] = works.plays["check"] = lambda _: lie
    works.plays["derive"] = lambda inside: replace(
        BLANK, changes=() if inside.plan_file == EMPTY_FILE else (change("delete"),), document={}
    )
    operation = await works.ask()
    await works.work()
    plan = (await works.gate.operation(operation)).plan
    assert plan is not None
    assert (plan.delete, plan.create, plan.incomplete) == (1, 0, ())
    assert "lie" not in works.said()


async def test_what_a_hostile_verify_stage_says_of_what_is_left_counts_for_nothing(works: Works) -> None:
    works.plays["verify"] = lambda _: planned(PLAN_FILE)  # says no changes, and its plan file says one
    ended = await works.done(await works.ask())
    assert (ended.state.value, ended.effect_shown.value) == ("failed", "partial"), ended.message


async def test_the_approved_bytes_reach_the_apply_stage_and_no_other(works: Works) -> None:
    works.plays["check"] = lambda _: planned(OTHER_FILE)  # the same meaning in other bytes, as every plan made anew
    ended = await works.done(await works.ask())
    assert ended.state.value == "succeeded", ended.message
    applied = works.sandbox.last("apply")
    assert applied.plan_file == PLAN_FILE
    assert applied.inputs["plan_sha256"] == ended.plan.file_sha256


async def test_bytes_swapped_in_the_store_are_not_applied(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = await queued(works)
    monkeypatch.setattr(works.parts.artifacts, "get", lambda *_: OTHER_FILE)
    await works.work()
    ended = await works.gate.operation(operation)
    assert (ended.state.value, "apply" in works.sandbox.stages()) == ("failed", False)
    assert "not the approved plan file" in ended.message


async def test_bytes_swapped_after_the_check_are_not_applied(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = await queued(works)
    real, times = works.parts.artifacts.get, iter((True, False))
    monkeypatch.setattr(works.parts.artifacts, "get", lambda *which: real(*which) if next(times) else OTHER_FILE)
    await works.work()
    ended = await works.gate.operation(operation)
    assert "apply" not in works.sandbox.stages(), ended.message
    assert "nothing was applied" in ended.message


async def test_a_plan_file_is_applied_once(works: Works) -> None:
    operation = await works.ask()
    await works.done(operation)
    plan = (await works.gate.operation(operation)).plan
    assert plan is not None
    with pytest.raises(LookupError):
        works.parts.artifacts.get(("plan", "default", "note", operation), plan.file_sha256)


async def test_a_plan_file_that_is_gone_is_named_before_anything_runs(works: Works) -> None:
    operation = await queued(works)
    for path in (works.parts.settings.state_dir / "plans").iterdir():
        path.unlink()
    await works.work()
    ended = await works.gate.operation(operation)
    assert (ended.state.value, str(ended.effect_shown)) == ("failed", "none")
    assert "plan.file_sha256" in ended.message and "ask again" in ended.message
    assert works.sandbox.stages() == ["plan", "derive"]


async def test_a_derive_that_fails_leaves_no_plan(works: Works) -> None:
    works.plays["derive"] = lambda _: replace(BLANK, status="failed", detail="not a plan of this version")
    ended = await works.done(await works.ask())
    assert (ended.state.value, ended.plan) == ("failed", None)
    assert "could not be derived (failed): not a plan of this version" in ended.message


async def test_a_derive_without_a_document_leaves_no_plan(works: Works) -> None:
    works.plays["derive"] = lambda _: replace(BLANK, changes=(change("create"),))
    ended = await works.done(await works.ask())
    assert (ended.state.value, ended.plan) == ("failed", None)


@pytest.mark.parametrize("encoded", ["", "not base64!", "QUI"])
async def test_a_plan_stage_without_plan_bytes_leaves_no_plan(works: Works, encoded: str) -> None:
    works.plays["plan"] = lambda _: replace(BLANK, plan_file=encoded)
    ended = await works.done(await works.ask())
    assert (ended.state.value, ended.plan) == ("failed", None)
    assert "plan file cannot be taken" in ended.message


async def test_more_changes_than_can_be_decided_on_are_refused_by_number(works: Works) -> None:
    many = tuple({**change("create"), "address": f"x[{index}]"} for index in range(10_001))
    works.plays["derive"] = lambda _: replace(BLANK, changes=many, document={})
    ended = await works.done(await works.ask())
    assert ended.state.value == "failed"
    assert "it has 10001 changes; at most 10000 can be decided on" in ended.message


async def test_ten_thousand_changes_are_decided_on(works: Works) -> None:
    many = tuple({**change("create"), "address": f"x[{index}]"} for index in range(10_000))
    works.plays["derive"] = lambda _: replace(BLANK, changes=many, document={})
    ended = await works.done(await works.ask())
    assert (ended.state.value, [reason.rule for reason in ended.reasons]) == ("denied", ["change_limit"]), ended.message


async def test_a_canonical_plan_larger_than_the_bound_is_refused_and_not_cut(works: Works) -> None:
    works.plays["derive"] = lambda _: replace(BLANK, changes=(change("create", after="x" * (8 << 20)),), document={})
    ended = await works.done(await works.ask())
    assert ended.state.value == "failed"
    assert f"at most {8 << 20} can be decided on" in ended.message


async def test_a_state_that_moved_after_the_plan_has_it_made_again(works: Works) -> None:
    operation = await queued(works)
    works.parts.states.keep("default", "note", state(5))
    await works.work()
    again = await works.gate.operation(operation)
    assert (again.state.value, again.phase.value if again.phase else "") == ("queued", "plan"), again.message
    assert "apply" not in works.sandbox.stages()


async def test_lineage_and_serial_before_and_after_stand_in_the_signed_manifests(works: Works) -> None:
    works.parts.states.keep("default", "note", state(5))
    works.plays["apply"] = writes(state(6))
    operation = await works.ask()
    ended = await works.done(operation)
    assert ended.state.value == "succeeded", ended.message
    (plan,), (apply,), (verify,) = [await works.manifests(operation, stage) for stage in ("plan", "apply", "verify")]
    assert (plan["state_before"], plan["state_after"]) == (mark(5), None)
    assert (apply["state_before"], apply["state_after"]) == (mark(5), mark(6))
    assert verify["state_before"] == mark(6)
    assert plan["derived_in"] and verify["derived_in"] and not apply["derived_in"]


@pytest.mark.parametrize(
    "left", [state(4), state(6, "l-2"), state(6)[:-3], b"\0"], ids=["serial-back", "other-lineage", "cut", "no-state"]
)
async def test_a_state_that_is_no_later_version_is_not_taken_and_nobody_says_what_holds(
    works: Works, left: bytes
) -> None:
    works.parts.states.keep("default", "note", state(5))
    works.plays["apply"] = writes(left)
    operation = await works.ask()
    ended = await works.done(operation)
    assert (ended.state.value, "verify" in works.sandbox.stages()) == ("indeterminate", False), ended.message
    (apply,) = await works.manifests(operation, "apply")
    assert apply["state_after"] is None
    assert works.parts.states.rejected("default", "note") == [left]


async def test_an_apply_whose_tool_fails_still_has_its_state_kept(works: Works) -> None:
    works.plays["apply"] = writes(state(1), replace(BLANK, status="failed", exit_code=1, detail="half way"))
    works.plays["verify"] = lambda _: planned(OTHER_FILE)
    works.plays["derive"] = lambda inside: replace(
        BLANK, changes=(change("create" if inside.plan_file == PLAN_FILE else "update"),), document={}
    )
    ended = await works.done(await works.ask())
    assert (ended.state.value, ended.effect_shown.value) == ("failed", "partial"), ended.message
    kept = works.parts.states.current("default", "note")
    assert kept is not None
    assert kept.mark.serial == 1


async def test_a_runner_that_died_in_an_apply_takes_the_state_when_it_starts_again(works: Works) -> None:
    works.parts.states.keep("default", "note", state(5))
    workspace = works.parts.settings.workspaces / "at_dead"
    workspace.mkdir(parents=True)
    out = hand_out(works.parts.states, "default", "note", "at_dead", workspace / "lent")
    out.file.write_bytes(state(6))
    ended = await works.done(await works.ask())
    assert (ended.state.value, "still with the attempt at_dead" in ended.message) == ("failed", True), ended.message
    await recover(works.parts)
    kept = works.parts.states.current("default", "note")
    assert kept is not None
    assert (kept.mark.serial, workspace.exists()) == (6, False)


async def test_a_plan_of_another_driver_or_fidelity_than_the_targets_is_refused(works: Works) -> None:
    operation = await works.ask()
    runner = works.gate.runner()
    offer = (await works.gate.door.lease(runner.peer, LeaseRequest("ab" * 16, ("opentofu",), 0, None))).offer
    assert offer is not None
    lease = Lease(offer, read_grant(offer.grant.encode(), works.gate.keys.keyset))
    await runner.start(lease)
    report = runner.stage(lease, Stage.PLAN, plan=plan_bytes())
    with pytest.raises(BadInput, match="not the target's driver"):
        await runner.report(lease, report)
    assert (await works.gate.operation(operation)).plan is None


@pytest.mark.parametrize("derived_in", ["", "ab" * 16], ids=["nowhere", "where-it-was-planned"])
async def test_a_plan_whose_meaning_was_not_derived_in_a_sandbox_of_its_own_is_refused(
    works: Works, derived_in: str
) -> None:
    operation = await works.ask()
    runner = works.gate.runner()
    offer = (await works.gate.door.lease(runner.peer, LeaseRequest("ab" * 16, ("opentofu",), 0, None))).offer
    assert offer is not None
    lease = Lease(offer, read_grant(offer.grant.encode(), works.gate.keys.keyset))
    await runner.start(lease)
    plan = PlanDocument(1, "opentofu", Fidelity.EXACT, INPUTS, (change("create"),), (), (), (), document={})
    report = runner.stage(
        lease,
        Stage.PLAN,
        plan=canonical(to_document(plan)),
        driver="opentofu",
        fidelity=Fidelity.EXACT,
        file_sha256="sha256:" + "0" * 64,
        sandbox="ab" * 16,
        derived_in=derived_in,
    )
    with pytest.raises(BadInput, match="derived in a sandbox of its own"):
        await runner.report(lease, report)
    assert (await works.gate.operation(operation)).plan is None
