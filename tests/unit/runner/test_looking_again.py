"""What could not be proven gone: its credentials are gone at once, its lock stays closed, and it is looked for until it is gone and that was told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.region import Region
from tests.unit.runner.test_settling import leased, settling

from lockgate.contract.runnerapi import LeaseRequest
from lockgate.gateway.store.port import AttemptsOf
from lockgate.runner import loop as loops
from lockgate.runner.loop import RunnerLoop
from lockgate.runner.recovery import recover
from lockgate.runner.sandbox.port import TeardownProof


class Haunted:
    """A provider's `destroy` that ends sandboxes and does not see it, until the ghosts are `laid`."""

    def __init__(self, region: Region) -> None:
        self._destroy = region.sandbox.destroy
        self.laid = False
        self.looks = 0

    async def destroy(self, sandbox_id: str) -> TeardownProof:
        proof = await self._destroy(sandbox_id)
        self.looks += 1
        return proof if self.laid else replace(proof, torn_down=False, checks={**proof.checks, "processes": False})


@pytest.fixture
def haunted(region: Region, monkeypatch: pytest.MonkeyPatch) -> Haunted:
    made = Haunted(region)
    monkeypatch.setattr(region.sandbox, "destroy", made.destroy)
    monkeypatch.setattr(loops, "LOOK_MS", 50)
    return made


async def leased_again(gate: Gate, region: Region) -> Any:
    request = LeaseRequest("fedcba9876543210", ("runbook",), 0, region.journal.witness)
    return (await gate.door.lease(gate.runner().peer, request)).offer


async def states(gate: Gate, operation: Any) -> set[str]:
    return {attempt.state.value for attempt in await gate.store.read(AttemptsOf(operation.id))}


async def test_an_unproven_end_keeps_the_lock_and_is_told_again_once_it_is_proven(
    gate: Gate, region: Region, haunted: Haunted
) -> None:
    operation = await gate.ask()
    haunted.laid = True
    loop = RunnerLoop(region.parts)
    await loop._attempt(await leased(gate, region))
    haunted.laid = False
    await loop._attempt(await leased_again(gate, region))
    assert await states(gate, operation) == {"torn_down", "unproven"}
    assert await gate.lock_state("web-dev") == "quarantined"
    (left,) = region.journal.open_attempts
    assert left.told
    seen = haunted.looks
    async with settling(region, loop), asyncio.timeout(60):
        while haunted.looks < seen + 3:  # noqa: ASYNC110  (a provider has no event to wait for)
            await asyncio.sleep(0.01)
        assert await gate.lock_state("web-dev") == "quarantined", "looking at it is no proof"
        haunted.laid = True
        while region.journal.open_attempts:  # noqa: ASYNC110  (a file has no event to wait for)
            await asyncio.sleep(0.01)
    assert await states(gate, operation) == {"torn_down"}
    assert await gate.lock_state("web-dev") == "free"


async def test_it_is_looked_for_after_a_restart_too(gate: Gate, region: Region, haunted: Haunted) -> None:
    operation = await gate.ask()
    await RunnerLoop(region.parts)._attempt(await leased(gate, region))
    assert await states(gate, operation) == {"unproven"}
    assert await recover(region.parts) == 0, "nothing new to tell"
    haunted.laid = True
    assert await recover(region.parts) == 1
    assert await states(gate, operation) == {"torn_down"}
    assert region.journal.open_attempts == ()


async def test_write_credentials_do_not_wait_for_their_sandbox_to_be_gone(
    gate: Gate, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a dead node that may take for ever."""
    await gate.ask()
    destroy, live, broker = region.sandbox.destroy, [], region.parts.broker
    issued = broker.issue
    given: list[str] = []

    async def issue(request: Any) -> Any:
        credential = await issued(request)
        if request.scope == "write":
            given.append(credential.accessor)
        return credential

    async def looked(sandbox_id: str) -> TeardownProof:
        live.append([accessor for accessor in given if accessor in broker._live])  # type: ignore[attr-defined]
        return await destroy(sandbox_id)

    monkeypatch.setattr(broker, "issue", issue)
    monkeypatch.setattr(region.sandbox, "destroy", looked)
    loop = RunnerLoop(region.parts)
    await loop._attempt(await leased(gate, region))
    await loop._attempt(await leased_again(gate, region))
    assert given, "a write credential was given"
    assert live, "and sandboxes were destroyed"
    assert [accessors for accessors in live if accessors] == []
