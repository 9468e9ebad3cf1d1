"""An attempt cut short at its worst moments: what it holds is still given back, and its receipt proves no more than was seen."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.region import Region

from lockgate.gateway.core import Timing
from lockgate.runner.sandbox.port import TeardownProof
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
        await asyncio.wait_for(beaten.wait(), 30)
        for _ in range(20):
            await asyncio.sleep(0)

    region.line.on_answer["heartbeat"] = beat
    region.line.on_answer["receipt"] = wait_for_a_beat
    await asyncio.create_task(region.work())
    assert region.journal.open_attempts == ()
