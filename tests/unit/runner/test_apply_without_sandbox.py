"""An apply that was started and came to no sandbox: nothing was applied, and that is what is said, whether or not anybody could look afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.region import Region

from lockgate.runner.sandbox.bubblewrap import BubblewrapSandbox
from lockgate.runner.sandbox.port import SandboxSpec, SandboxUnavailable


async def applying(gate: Gate, region: Region) -> Any:
    operation = await gate.ask()
    await region.work()
    return operation


async def test_an_apply_whose_sandbox_cannot_be_made_has_applied_nothing(
    gate: Gate, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota that denies one pod: the look afterwards finds everything as it was."""
    operation, start = await applying(gate, region), region.sandbox.start

    async def denied(spec: SandboxSpec) -> Any:
        if spec.stage == "apply":
            raise SandboxUnavailable("pod stage-3: exceeded quota\nin a second line", "raise the quota")
        return await start(spec)

    monkeypatch.setattr(region.sandbox, "start", denied)
    await region.work()
    ended = await gate.operation(operation)
    assert (ended.state.value, ended.effect_shown, region.state()) == ("failed", "none", None)
    assert "exceeded quota" in ended.message and "nothing was applied" in ended.message
    assert await gate.lock_state("web-dev") == "free"
    assert not region.journal.live_credentials, "the write credential is revoked"


async def test_where_nothing_can_be_started_any_more_the_runners_own_word_counts(gate: Gate, region: Region) -> None:
    """Between start and apply bubblewrap is gone from the machine, and its launcher is killed: no verify can look either."""
    operation = await applying(gate, region)
    sandbox = region.sandbox
    assert isinstance(sandbox, BubblewrapSandbox)
    there = sandbox._settings

    async def gone() -> None:
        assert sandbox._client is not None and sandbox._client._process is not None
        sandbox._client._process.kill()
        await sandbox._client.close()
        sandbox._settings = type(there)(there.base, there.uids, bwrap=str(Path("/nowhere/bwrap")))

    region.line.on_answer["start"] = gone
    await region.work()
    sandbox._settings = there
    ended = await gate.operation(operation)
    assert (ended.state.value, ended.effect_shown, region.state()) == ("failed", "none", None)
    assert "no sandbox" in ended.message and "nothing was applied" in ended.message
    assert await gate.lock_state("web-dev") == "quarantined", "what was there before cannot be looked for: no proof"
