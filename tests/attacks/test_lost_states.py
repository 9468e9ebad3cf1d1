"""What an apply did is in no state: the tool was ended while it wrote one, or code beside it emptied the file. Nobody may then say that nothing happened."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from tests.invariants.exact import BLANK, PLAN_FILE, Works, planned, state, writes

from lockgate.runner.keeping.handing import hand_out, still_out
from lockgate.runner.recovery import recover
from lockgate.runner.sandbox.port import TeardownProof

LOST = replace(BLANK, status="incomplete", exit_code=1, detail="what it did is in no state")


def same_plan_again(works: Works) -> None:
    """The engine knows no better: of what is in no state, verify plans the creation once more."""
    works.plays["verify"] = lambda _: planned(PLAN_FILE)


async def test_an_emptied_state_is_not_taken_for_a_tool_that_wrote_nothing(works: Works) -> None:
    """Engines truncate the file before they write it: ended in between, they leave it empty, and the state of before would stand for now."""
    works.parts.states.keep("default", "note", state(5))
    works.plays["apply"] = writes(b"", replace(BLANK, status="killed", exit_code=None, detail="killed"))
    same_plan_again(works)
    operation = await works.ask()
    ended = await works.done(operation)
    assert (ended.state.value, "verify" in works.sandbox.stages()) == ("indeterminate", False), ended.message
    (apply,) = await works.manifests(operation, "apply")
    assert apply["state_after"] is None
    assert works.parts.states.rejected("default", "note") == [b""]


async def test_a_tool_that_says_its_state_was_lost_is_not_found_to_have_done_nothing(works: Works) -> None:
    works.parts.states.keep("default", "note", state(5))
    works.plays["apply"] = lambda _: LOST
    same_plan_again(works)
    ended = await works.done(await works.ask())
    assert ended.state.value == "indeterminate", ended.message
    assert "in no state" in ended.message


async def test_nor_does_a_later_look_find_that(works: Works) -> None:
    """A look compares the states of before and of now, and both are that of before."""
    works.parts.states.keep("default", "note", state(5))
    works.plays["apply"] = lambda _: LOST
    same_plan_again(works)
    operation = await works.ask()
    await works.done(operation)
    works.gate.clock.now += 3_600_000
    with pytest.raises(AssertionError, match="nothing was offered"):
        await works.work()
    assert (await works.gate.operation(operation)).state.value == "indeterminate"


async def test_a_state_that_moved_on_is_not_found_unchanged(works: Works) -> None:
    """The plan is the same as before, but something was written: what was done and undone again leaves no other trace."""
    works.parts.states.keep("default", "note", state(5))
    works.plays["apply"] = writes(state(7), replace(BLANK, status="failed", exit_code=1, detail="half way"))
    same_plan_again(works)
    ended = await works.done(await works.ask())
    assert (ended.state.value, ended.effect_shown.value) == ("failed", "partial"), ended.message


async def test_where_nothing_was_written_a_failed_tool_is_found_to_have_done_nothing(works: Works) -> None:
    works.parts.states.keep("default", "note", state(5))
    works.plays["apply"] = lambda _: replace(BLANK, status="failed", exit_code=1, detail="no")
    same_plan_again(works)
    ended = await works.done(await works.ask())
    assert (ended.state.value, ended.effect_shown.value) == ("failed", "none"), ended.message


async def test_a_plan_of_nothing_swapped_in_at_verify_makes_no_success(works: Works) -> None:
    """Code of the source runs at verify too, and may bring any plan file. The state is the runner's own word: nothing was written to it."""
    works.parts.states.keep("default", "note", state(5))
    works.plays["apply"] = lambda _: replace(BLANK, status="failed", exit_code=1, detail="no")
    ended = await works.done(await works.ask())
    assert ended.state.value == "indeterminate", ended.message
    assert "nothing was written to" in ended.message


async def test_a_state_is_not_taken_from_a_sandbox_that_may_live(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receipt of its attempt was sent, so the journal has forgotten it; what the launcher still finds has not ended for that."""
    states = works.parts.states
    states.keep("default", "note", state(5))
    workspace = works.parts.settings.workspaces / "at_dead"
    workspace.mkdir(parents=True)
    out = hand_out(states, "default", "note", "at_dead", workspace / "lent")
    out.file.write_bytes(state(6))

    async def stuck(keep: Collection[str]) -> list[TeardownProof]:
        return [TeardownProof("ab" * 16, False, {"processes": False}, 0, 0, "still there: processes")]

    with monkeypatch.context() as while_it_lives:
        while_it_lives.setattr(works.sandbox, "reap", stuck)
        await recover(works.parts)
    kept = states.current("default", "note")
    assert kept is not None
    assert (kept.mark.serial, len(still_out(states))) == (5, 1)
    await recover(works.parts)
    kept = states.current("default", "note")
    assert kept is not None
    assert (kept.mark.serial, still_out(states)) == (6, [])
