"""What a runner leaves open while it lives: a receipt the gateway did not get, an attempt that broke, a poll whose answer was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.region import Region

from lockgate.contract.codec import to_document
from lockgate.contract.runnerapi import LeaseRequest
from lockgate.gateway.store.port import AttemptsOf
from lockgate.runner.loop import BACKOFF_SECONDS, RunnerLoop
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.runner.statements import sign_receipt
from lockgate.wire.client import GatewayUnavailable


@asynccontextmanager
async def settling(region: Region, loop: RunnerLoop) -> AsyncIterator[None]:
    """The loop's own task that settles what is open."""
    task = asyncio.create_task(loop._keep_settling())
    try:
        yield
    finally:
        task.cancel()


async def until_free(gate: Gate) -> None:
    async with asyncio.timeout(30):
        while await gate.lock_state("web-dev") != "free":  # noqa: ASYNC110  (a store has no event to wait for)
            await asyncio.sleep(0.02)


async def leased(gate: Gate, region: Region) -> Any:
    request = LeaseRequest("0123456789abcdef", ("runbook",), 0, region.journal.witness)
    return (await gate.door.lease(gate.runner().peer, request)).offer


async def test_a_receipt_that_did_not_arrive_is_sent_again_while_the_runner_lives(gate: Gate, region: Region) -> None:
    """The target's lock waits for it: nobody can change that target until a restart otherwise."""
    operation = await gate.ask()
    await region.work()
    failing = True
    post = region.line.post

    async def losing(path: str, document: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        if failing and path.endswith("/receipt"):
            raise GatewayUnavailable("the line is down", sent=False)
        return await post(path, document, timeout)

    region.line.post = losing  # type: ignore[method-assign]
    loop = RunnerLoop(region.parts)
    await loop._attempt(await leased(gate, region))
    assert (await gate.operation(operation)).state.value == "succeeded"
    assert (await gate.lock_state("web-dev"), len(region.journal.open_attempts)) == ("held", 1)
    failing = False
    async with settling(region, loop), asyncio.timeout(60):
        await until_free(gate)
        # The gateway frees the lock before its answer is back here; only the answer lets the runner write it off.
        while region.journal.open_attempts:  # noqa: ASYNC110  (a file has no event to wait for)
            await asyncio.sleep(0.02)


async def test_an_attempt_that_is_at_work_is_left_alone(gate: Gate, region: Region) -> None:
    await gate.ask()
    loop, seen = RunnerLoop(region.parts), []

    async def looked_at() -> None:
        async with settling(region, loop):
            await asyncio.sleep(2 * BACKOFF_SECONDS[0])
        seen.append(tuple(item.receipt for item in region.journal.open_attempts))

    region.line.on_answer["start"] = looked_at
    await loop._attempt(await leased(gate, region))
    assert seen == [(None,)], "while it works it is open, and nobody else signs for it"


async def test_an_attempt_that_broke_is_ended_and_said_to_the_gateway(
    gate: Gate, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody foresaw happened in its last step: no receipt was signed."""
    operation = await gate.ask()
    loop = RunnerLoop(region.parts)
    broken = True

    def sign(*arguments: Any) -> str:
        if broken:
            raise RuntimeError("not foreseen")
        return real(*arguments)

    real = sign_receipt
    monkeypatch.setattr("lockgate.runner.run.sign_receipt", sign)
    with pytest.raises(RuntimeError):
        await loop._attempt(await leased(gate, region))
    assert [item.receipt for item in region.journal.open_attempts] == [None]
    broken = False
    async with settling(region, loop), asyncio.timeout(60):
        while region.journal.open_attempts:  # noqa: ASYNC110  (a file has no event to wait for)
            await asyncio.sleep(0.02)
    (attempt,) = await gate.store.read(AttemptsOf(operation.id))
    assert attempt.state.value == "torn_down"


async def test_settling_waits_for_a_sandbox_provider_that_is_down(
    gate: Gate, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, lease = await gate.applied()
    region.journal.first_sight(lease.attempt, lease.offer.grant)
    for box in gate.boxes[lease.attempt]:
        region.journal.sandbox_started(lease.attempt, box)
    destroy, tries = region.sandbox.destroy, []

    async def down_once(sandbox: str) -> Any:
        tries.append(sandbox)
        if len(tries) == 1:
            raise SandboxUnavailable("the launcher ended", "wait")
        return await destroy(sandbox)

    monkeypatch.setattr(region.sandbox, "destroy", down_once)
    async with settling(region, RunnerLoop(region.parts)):
        await until_free(gate)
    assert len(tries) > 1


async def test_a_poll_whose_answer_was_lost_is_the_same_poll_again(gate: Gate, region: Region) -> None:
    """The gateway answers it with the same lease: it does not have to run out first."""
    operation = await gate.ask()
    polls: list[str] = []

    async def lease(path: str, document: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        polls.append(document["poll_id"])
        request = LeaseRequest(document["poll_id"], ("runbook",), 0, region.journal.witness)
        answer = await gate.door.lease(gate.runner().peer, request)
        if len(polls) == 1:
            assert answer.offer is not None
            raise GatewayUnavailable("the line is down", sent=True)
        region.line.post = post  # type: ignore[method-assign]
        return to_document(answer)

    post = region.line.post
    region.line.post = lease  # type: ignore[method-assign]
    loop = RunnerLoop(region.parts)
    with pytest.raises(GatewayUnavailable):
        await loop._poll()
    await loop._poll()
    await asyncio.gather(*loop._attempts)
    assert polls[0] == polls[1]
    assert len(await gate.store.read(AttemptsOf(operation.id))) == 1
    assert (await gate.operation(operation)).place.phase is not None
