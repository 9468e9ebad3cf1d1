"""What follows a stage is told before its sandbox is destroyed, begins after that, and is destroyed itself whether it came or not."""

from __future__ import annotations

import pytest
from tests.invariants.exact import BLANK, EMPTY_FILE, PLAN_FILE, STATE_SECRET, Works, planned

from lockgate.contract.jobchannel import SANDBOX_PLAN, SANDBOX_STATE_FILE
from lockgate.runner.keeping.attempt import Keeping, NotKept


async def test_each_stage_is_told_of_before_the_one_before_it_is_destroyed_and_started_after_that(works: Works) -> None:
    works.sandbox.prepares = True
    operation = await works.ask()
    await works.work()
    assert works.sandbox.told == [
        *("start plan", "foresee derive", "destroy plan"),
        *("start derive", "foresee the end", "destroy derive"),
    ]
    works.sandbox.told.clear()
    assert (await works.done(operation)).state.value == "succeeded"
    assert works.sandbox.told == [
        *("start check", "foresee derive", "destroy check"),
        *("start derive", "foresee apply", "destroy derive"),
        *("start apply", "foresee verify", "destroy apply"),
        *("start verify", "foresee derive", "destroy verify"),
        *("start derive", "foresee the end", "destroy derive"),
    ]


async def test_a_stage_that_was_foreseen_starts_as_the_sandbox_that_was_told_of(works: Works) -> None:
    works.sandbox.prepares = True
    operation = await works.ask()
    assert (await works.done(operation)).state.value == "succeeded"
    started = {inside.spec.id for inside in works.sandbox.ran}
    assert {spec.id for spec in works.sandbox.foreseen} <= started
    assert len(started) == len(works.sandbox.ran) == 7
    assert not works.journal.open_attempts, "each is proven gone"


async def test_one_that_is_not_prepared_starts_as_one_that_nobody_was_told_of(works: Works) -> None:
    operation = await works.ask()
    assert (await works.done(operation)).state.value == "succeeded"
    assert len(works.sandbox.foreseen) == 5
    assert {spec.id for spec in works.sandbox.foreseen}.isdisjoint(inside.spec.id for inside in works.sandbox.ran)


async def test_what_was_foreseen_and_does_not_come_is_destroyed_before_the_end(works: Works) -> None:
    """The check differs, so that the gateway starts no apply."""
    works.sandbox.prepares = True
    operation = await works.ask()
    await works.work()
    works.plays["check"] = lambda _: planned(EMPTY_FILE)
    works.sandbox.told.clear()
    await works.work()
    assert works.sandbox.told[-3:] == ["foresee apply", "destroy derive", "destroy apply"]
    assert not works.journal.open_attempts
    assert (await works.gate.operation(operation)).state.value == "queued"
    assert await works.gate.lock_state("note") == "free"


async def test_no_end_is_told_as_long_as_one_that_was_foreseen_is_left(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An apply that could not be lent its state never starts; its verify is the last stage, and not the last sandbox."""
    works.sandbox.prepares = True
    await works.ask()
    await works.work()

    async def refuses(_: Keeping) -> None:
        raise NotKept("state: lent to another")

    monkeypatch.setattr(Keeping, "lend_state", refuses)
    works.sandbox.told.clear()
    await works.work()
    assert works.sandbox.told[-3:] == ["start derive", "destroy derive", "destroy apply"]
    assert "foresee the end" not in works.sandbox.told
    assert not works.journal.open_attempts


async def test_a_plan_that_failed_is_the_last_and_a_check_that_failed_leaves_the_end_open(works: Works) -> None:
    works.sandbox.prepares = True
    await works.ask()
    await works.work()
    works.plays["check"] = lambda _: BLANK
    works.sandbox.told.clear()
    await works.work()
    assert works.sandbox.told == ["start check", "destroy check"]
    works.plays["plan"] = lambda _: BLANK
    await works.ask()
    works.sandbox.told.clear()
    await works.work()
    assert works.sandbox.told == ["start plan", "foresee the end", "destroy plan"]


async def test_what_is_foreseen_of_an_apply_has_room_for_its_state_and_holds_no_permit_and_no_secret(
    works: Works,
) -> None:
    operation = await works.ask()
    assert (await works.done(operation)).state.value == "succeeded"
    (foreseen,) = [spec for spec in works.sandbox.foreseen if spec.stage == "apply"]
    ran = works.sandbox.last("apply").spec
    assert {bind.target for bind in foreseen.binds} == {bind.target for bind in ran.binds} >= {SANDBOX_STATE_FILE}
    (plan_file,) = [file for file in foreseen.files if file.target == SANDBOX_PLAN]
    assert plan_file.content == PLAN_FILE
    assert STATE_SECRET.encode() not in b"".join(file.content for file in foreseen.files)
