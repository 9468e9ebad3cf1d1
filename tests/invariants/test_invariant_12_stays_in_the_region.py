"""Invariant 12: plan bytes, state, inputs and output of a target stay with its region's runners."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from tests.invariants.exact import (
    AGENT_TEXT,
    BLANK,
    EMPTY_FILE,
    PLAN_FILE,
    PLAN_SECRET,
    STATE_SECRET,
    Works,
    change,
    state,
    writes,
)

SHOWN_SECRET = "shown-by-derive-3141"


def forms(secret: str) -> list[str]:
    """A text as it is, and the middle of its base64 at each alignment."""
    lead = [base64.b64encode(b"x" * shift + secret.encode()).decode()[4:-4] for shift in range(3)]
    return [secret, *lead]


async def test_neither_plan_bytes_nor_state_leave_the_region(works: Works) -> None:
    operation = await works.ask()
    ended = await works.done(operation)
    assert (ended.state.value, works.sandbox.stages()) == (
        "succeeded",
        ["plan", "derive", "check", "derive", "apply", "verify", "derive"],
    ), ended.message
    said = works.said()
    (manifest,) = await works.manifests(operation, "plan")
    assert manifest["plan"]["file_sha256"] == ended.plan.file_sha256, "the digest does leave: it is what is approved"
    for secret in (PLAN_SECRET, STATE_SECRET):
        for form in forms(secret):
            assert form not in said


async def test_what_a_tool_marks_sensitive_leaves_as_a_keyed_digest(works: Works) -> None:
    entry = change("create", after=SHOWN_SECRET)
    entry["change"]["after_sensitive"] = {"content": True}
    document = {
        "variables": {"v": {"value": SHOWN_SECRET}},
        "configuration": {"root_module": {"variables": {"v": {"sensitive": True, "default": SHOWN_SECRET}}}},
        "prior_state": {"values": {"outputs": {"o": {"sensitive": True, "value": SHOWN_SECRET}}}},
    }
    works.plays["derive"] = lambda inside: replace(
        BLANK, changes=() if inside.plan_file == EMPTY_FILE else (entry,), document=document
    )
    ended = await works.done(await works.ask())
    assert ended.state.value == "succeeded", ended.message
    assert SHOWN_SECRET not in works.said()
    assert "hmac-sha256:" in works.said()


async def test_at_rest_plan_and_state_are_readable_with_the_regions_key_only(works: Works) -> None:
    await works.ask()
    await works.work()
    works.parts.states.keep("default", "note", state(7))
    files = [path for path in works.parts.settings.state_dir.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".sealed"]) == 2
    for path in files:
        content = path.read_bytes()
        assert PLAN_SECRET.encode() not in content and STATE_SECRET.encode() not in content, path
        assert path.stat().st_mode & 0o077 == 0, path


async def test_after_an_apply_its_plan_file_and_plain_state_are_gone(works: Works) -> None:
    ended = await works.done(await works.ask())
    assert ended.state.value == "succeeded", ended.message
    assert list((works.parts.settings.state_dir / "plans").iterdir()) == []
    left = [path for path in works.parts.settings.sandbox.base_dir.rglob("*") if path.is_file()]
    assert all(STATE_SECRET.encode() not in path.read_bytes() for path in left)


async def test_derive_gets_the_plan_file_and_the_tool_and_not_a_word_more(works: Works) -> None:
    await works.done(await works.ask())
    for inside in works.sandbox.ran:
        if inside.stage != "derive":
            continue
        assert inside.plan_file in (PLAN_FILE, EMPTY_FILE)
        assert inside.targets == {
            "/lockgate",
            "/lockgate-tool",
            "/lockgate-plan/plan",
            "/lockgate-trust/keyset.json",
            "/lockgate-trust/root.pub",
        }
        assert inside.spec.egress is None
        held: list[Any] = [inside.spec.argv, inside.spec.env, [file.content for file in inside.spec.files]]
        assert AGENT_TEXT not in repr(held)


async def test_a_state_that_does_not_come_back_whole_is_told_of_without_its_content(works: Works) -> None:
    works.plays["apply"] = writes(state(1)[:-5])
    ended = await works.done(await works.ask())
    assert ended.state.value == "indeterminate", ended.message
    assert STATE_SECRET not in works.said()


@pytest.mark.parametrize("stage", ["plan", "check"])
async def test_a_plan_file_larger_than_the_bound_is_refused_by_name(works: Works, stage: str) -> None:
    works.plays[stage] = lambda _: replace(BLANK, plan_file=base64.b64encode(b"x" * ((8 << 20) + 1)).decode())
    ended = await works.done(await works.ask())
    assert (ended.state.value, ended.effect_shown.value) == ("failed", "none")
    assert f"must have 1 to {8 << 20}" in ended.message
