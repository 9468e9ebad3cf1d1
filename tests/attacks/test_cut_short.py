"""An attempt cut short at its worst moments: what it holds is still given back, and its receipt proves no more than was seen."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.region import Region
from tests.looptime import comes_about

from lockgate.gateway.core import Timing
from lockgate.runner.sandbox.port import SandboxSpec, SandboxUnavailable, TeardownProof
from lockgate.wire.client import GatewayUnavailable


def receipts(region: Region) -> list[dict[str, Any]]:
    """Every receipt the runner sent, opened."""
    found = [json.loads(text)["receipt"] for path, text in region.line.said if path.endswith("/receipt")]
    return [json.loads(base64.b64decode(json.loads(receipt)["payload"])) for receipt in found]


async def test_a_write_credential_that_nobody_heard_of_is_revoked_and_named(gate: Gate, region: Region) -> None:
    """The line fails exactly when the gateway is told that the credential exists."""
    operation = await gate.ask()
    await region.work()
    assert (await gate.operation(operation)).place.phase is not None

    async def fail_once_issued() -> None:
        note = json.loads(region.line.said[-1][1])
        if (note["event"], note["scope"]) == ("issued", "write"):
            raise GatewayUnavailable("the line is down", sent=True)

    region.line.on_answer["credential"] = fail_once_issued
    await region.work()
    assert region.state() is None
    broker = region.parts.broker
    assert broker._live == set()  # type: ignore[attr-defined]
    written = [item for item in receipts(region)[-1]["credentials"] if item["scope"] == "write"]
    assert [item["revoked"] for item in written] == [True]


async def test_a_sandbox_nobody_saw_end_is_in_the_receipt_and_not_proven(
    gate: Gate, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt is stopped while it waits for its sandbox to be destroyed."""
    await gate.ask()
    destroy = region.sandbox.destroy

    async def stopped(sandbox_id: str) -> TeardownProof:
        await destroy(sandbox_id)
        raise asyncio.CancelledError

    monkeypatch.setattr(region.sandbox, "destroy", stopped)
    await region.work()
    (receipt,) = receipts(region)
    assert [box["torn_down"] for box in receipt["sandboxes"]] == [False]


async def test_a_heartbeat_after_the_report_does_not_stop_the_teardown(gate: Gate, region: Region) -> None:
    """Once reported, the gateway answers every heartbeat with `cancel`: that ends the work, never its teardown."""
    gate.core.timing = Timing(lease=1)
    await gate.ask()
    beaten = asyncio.Event()

    async def beat() -> None:
        said = [path.rsplit("/", 1)[1] for path, _ in region.line.said]
        if "report" in said and said[said.index("report") :].count("heartbeat") == 2:
            beaten.set()

    async def wait_for_a_beat() -> None:
        async with comes_about("two heartbeats after the report"):
            await beaten.wait()
        for _ in range(20):
            await asyncio.sleep(0)

    region.line.on_answer["heartbeat"] = beat
    region.line.on_answer["receipt"] = wait_for_a_beat
    await asyncio.create_task(region.work())
    assert region.journal.open_attempts == ()


async def test_an_enclosure_is_released_after_the_last_stage_and_its_look_is_in_the_receipt(
    gate: Gate, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every attempt has one of its own, its stages share it, and what was not seen gone proves nothing."""
    shared, released = [], []
    start = region.sandbox.start

    async def started(spec: SandboxSpec) -> Any:
        shared.append(spec.enclosure)
        return await start(spec)

    async def stuck(enclosure: str) -> TeardownProof:
        released.append(enclosure)
        return TeardownProof(enclosure, False, {"namespace": False}, 0, 0, "still there: namespace")

    monkeypatch.setattr(region.sandbox, "start", started)
    monkeypatch.setattr(region.sandbox, "release", stuck)
    operation = await gate.ask()
    await region.work()
    assert (await gate.operation(operation)).place.phase is not None
    await region.work()
    assert len(set(shared)) == 2 and len(shared) > 2, "two attempts, of which the second has several stages"
    assert released == list(dict.fromkeys(shared))
    said = [receipt["enclosures"] for receipt in receipts(region)]
    assert said == [[{"enclosure": one, "torn_down": False, "checks": {"namespace": False}}] for one in released]
    attempts = {path.split("/")[4] for path, _ in region.line.said if path.endswith("/receipt")}
    assert [(await gate.attempt(name)).state.value for name in attempts] == ["unproven"] * len(attempts)


async def test_an_enclosure_is_released_though_no_sandbox_could_be_made(
    gate: Gate, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(spec: SandboxSpec) -> Any:
        raise SandboxUnavailable("the namespace cannot be made", "see the message")

    async def unreachable(enclosure: str) -> TeardownProof:
        raise SandboxUnavailable("the cluster does not answer", "see the message")

    monkeypatch.setattr(region.sandbox, "start", refused)
    monkeypatch.setattr(region.sandbox, "release", unreachable)
    await gate.ask()
    with contextlib.suppress(SandboxUnavailable):
        await region.work()
    (receipt,) = receipts(region)
    assert [(item["torn_down"], item["checks"]) for item in receipt["enclosures"]] == [
        (False, {"provider_available": False})
    ]
