"""A policy that asks for approval of a read: the obligation is met or the read is denied, never dropped."""

from __future__ import annotations

from pathlib import Path

from tests.invariants.conftest import MakeEngine
from tests.invariants.gate import Gate


async def test_a_read_that_policy_holds_for_approval_never_runs(tmp_path: Path, library: MakeEngine) -> None:
    edit = (
        "      targets: {environments: [production]}\n    - name: destructive",
        "      effects: [read, change, destroy]\n    - name: destructive",
    )
    gate = await Gate(tmp_path / "store" / "store.db", library(edit)).open()
    try:
        operation = await gate.ask(None, "web-dev", action="service_status")
        assert operation.obligations and "approvals" in operation.obligations
        assert await gate.runner().poll() is None
        now = await gate.operation(operation)
        assert (now.state.value, now.reasons[0].rule) == ("denied", "approvals")
    finally:
        await gate.close()
