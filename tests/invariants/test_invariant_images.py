"""The image of a runner's sandboxes: policy is asked about it before it runs, the grant binds it, and it is never the gateway's to choose."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.invariants.conftest import MakeEngine
from tests.invariants.gate import Gate
from tests.invariants.parties import plan_bytes

from lockgate.contract.intent import Stage
from lockgate.gateway.errors import BadInput
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.store.port import DecisionsOf

GOOD, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
RULE = ("\nrules:\n", f"\nrules:\n  allowed_images: [{{effect: deny, images: ['{GOOD}']}}]\n")


async def told(gate: Gate, operation: Operation) -> list[tuple[str, Any]]:
    """What policy was told of the image, question by question; `unknown` where nothing was."""
    said = []
    for record in await gate.store.read(DecisionsOf(operation.id)):
        assert record.input is not None
        said.append((record.question, json.loads(record.input.data())["context"].get("image", "unknown")))
    return said


async def test_policy_is_asked_about_the_announced_image_at_lease_start_and_plan_and_the_grant_binds_it(
    gate: Gate,
) -> None:
    operation = await gate.ask()
    runner = gate.runner()
    lease = await runner.take(GOOD)
    assert lease.grant.image == GOOD
    assert (await runner.start(lease)).permit is not None
    await runner.report(lease, runner.stage(lease, Stage.PLAN, plan=plan_bytes()))
    said = await told(gate, operation)
    assert said == [("request", "unknown"), ("request", GOOD), ("request", GOOD), ("plan", GOOD)]


async def test_a_runner_with_another_image_does_not_get_the_work_and_the_next_one_does(
    gate: Gate, library: MakeEngine
) -> None:
    gate.core.policy = library(RULE)
    operation = await gate.ask()
    assert operation.state.value == "queued", "nobody knows yet where it will run"
    for image in (OTHER, None):
        assert await gate.runner().poll(image=image) is None
        waiting = await gate.operation(operation)
        assert (waiting.state.value, waiting.waiting_for) == ("queued", "allowed_images")
    assert (await gate.runner().take(GOOD)).grant.image == GOOD


async def test_an_image_that_is_no_longer_allowed_does_not_start(gate: Gate, library: MakeEngine) -> None:
    await gate.ask()
    lease = await gate.runner().take(OTHER)
    gate.core.policy = library(RULE)
    answer = await gate.runner().start(lease)
    assert answer.permit is None
    assert "image" in str(answer.refused)


@pytest.mark.parametrize("image", ["", "latest", "sha256:" + "1" * 63, "sha256:" + "A" * 64, "job@" + GOOD])
async def test_an_announced_image_is_a_digest_or_nothing(gate: Gate, image: str) -> None:
    with pytest.raises(BadInput) as caught:
        await gate.runner().poll(image=image)
    assert caught.value.field == "image"
