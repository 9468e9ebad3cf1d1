"""Invariant 7 with TRUST §5: an unknown apply of an exact driver is looked at once its writer is dead; only plan, serial and lineage together can tell."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.gate import Gate, Lease, Runner
from tests.invariants.parties import CATALOG, INPUTS, OTHER_INPUTS, Shelf, catalog, human

from lockgate.contract.canonical import canonical
from lockgate.contract.codec import to_document
from lockgate.contract.grant import read_grant
from lockgate.contract.intent import Phase, Stage
from lockgate.contract.plan import Fidelity, PlanDocument
from lockgate.contract.runnerapi import Heartbeat, LeaseRequest, StageReport, StartRequest
from lockgate.contract.state import StateMark
from lockgate.gateway.errors import Clash
from lockgate.gateway.looking import MAX_LOOKS
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.scheduling.sweep import sweep
from lockgate.job.drivers.port import resource_change
from lockgate.policy.port import PolicyEngine

EXACT = "\n---\n".join(part for part in CATALOG.split("\n---\n") if "service_status" not in part)
EXACT = EXACT.replace("runbook", "opentofu").replace(
    "settings: {state_dir: /target}", "settings: {engine: opentofu, state: runner}"
)
FILE = "sha256:" + "f" * 64
BEFORE, AFTER = StateMark("life-1", 4), StateMark("life-1", 5)


def plan(action: str = "update", inputs: str = INPUTS) -> bytes:
    change = {"actions": [action], "before": {"replicas": 1}, "after": {"replicas": 3}}
    changes = (resource_change("service.web", "service_replicas", "web", "lockgate/x", change),)
    document: dict[str, Any] = {"format_version": "1.2"}
    return canonical(
        to_document(PlanDocument(1, "opentofu", Fidelity.EXACT, inputs, changes, (), (), (), document=document))
    )


class Tofu(Runner):
    """A runner with the exact driver; every stage that shows a plan says which state it saw."""

    async def poll(self, poll_id: str | None = None, witness: Any = None, image: str | None = None) -> Lease | None:
        request = LeaseRequest(poll_id or os.urandom(16).hex(), ("opentofu",), 0, witness, image)
        offer = (await self.gate.door.lease(self.peer, request)).offer
        return Lease(offer, read_grant(offer.grant.encode(), self.gate.keys.keyset)) if offer else None

    def shown(
        self, lease: Lease, stage: Stage, data: bytes | None, state: StateMark | None, **changes: Any
    ) -> StageReport:
        fields = {"driver": "opentofu", "fidelity": Fidelity.EXACT, "file_sha256": FILE, "state_before": state}
        if data is not None:
            fields["derived_in"] = os.urandom(16).hex()
        return self.stage(lease, stage, plan=data, **{**fields, **changes})


@pytest.fixture
async def exact(tmp_path: Path, library: Callable[..., PolicyEngine]) -> AsyncIterator[Gate]:
    gate = Gate(tmp_path / "gate" / "store.db", library(), shelf=Shelf(catalog(EXACT)))
    await gate.open()
    yield gate
    await gate.close()


async def applied(gate: Gate, before: StateMark | None = BEFORE) -> tuple[Operation, Lease]:
    """An operation whose apply was started and never reported."""
    operation, runner = await gate.ask(), Tofu(gate, "runner-1")
    lease = await runner.take()
    await runner.start(lease)
    await runner.report(lease, runner.shown(lease, Stage.PLAN, plan(), before))
    await runner.receipt(lease)
    lease = await runner.take()
    assert (lease.grant.operation, lease.grant.phase) == (operation.id, Phase.APPLY)
    assert (await runner.start(lease, check=runner.shown(lease, Stage.CHECK, plan(), before))).permit is not None
    return operation, lease


async def unknown(gate: Gate, before: StateMark | None = BEFORE) -> Operation:
    """The same, its runner come back and its teardown proven."""
    operation, lease = await applied(gate, before)
    await Tofu(gate, "runner-1").receipt(lease)
    assert (await gate.operation(operation)).state.value == "indeterminate"
    return operation


async def looked(gate: Gate, data: bytes | None, state: StateMark | None, **changes: Any) -> str:
    """One verify attempt with what it shows; the state of the operation after it."""
    runner = Tofu(gate, "runner-2")
    lease = await runner.take()
    assert (lease.grant.phase, lease.grant.credential_scope) == (Phase.VERIFY, "read")
    inputs = OTHER_INPUTS if state != BEFORE else INPUTS
    answer = await runner.start(lease, inputs=inputs)
    assert answer.permit is not None, answer
    ended = await runner.report(
        lease, runner.shown(lease, Stage.VERIFY, data, state, **{"inputs_sha256": inputs, **changes})
    )
    await runner.receipt(lease)
    return ended


async def test_nothing_happened_when_plan_serial_and_lineage_are_those_of_before(exact: Gate) -> None:
    operation = await unknown(exact)
    assert await looked(exact, plan(), BEFORE) == "failed"
    ended = await exact.operation(operation)
    assert ended.effect_shown is not None and ended.effect_shown.value == "none"
    assert (await exact.kinds(operation)).count("operation.ended") == 1


async def test_all_happened_when_nothing_is_left_and_the_serial_advanced_in_the_same_lineage(exact: Gate) -> None:
    operation = await unknown(exact)
    assert await looked(exact, plan("no-op", OTHER_INPUTS), AFTER) == "succeeded"
    ended = await exact.operation(operation)
    assert ended.effect_shown is not None and ended.effect_shown.value == "full"


UNTOLD: dict[str, tuple[bytes | None, StateMark | None, dict[str, Any]]] = {
    "something is left to change": (plan("update", OTHER_INPUTS), AFTER, {}),
    "the serial stood still, and nothing is left": (plan("no-op"), BEFORE, {}),
    "the serial went back": (plan("no-op", OTHER_INPUTS), StateMark("life-1", 3), {}),
    "another lineage": (plan("no-op", OTHER_INPUTS), StateMark("life-2", 5), {}),
    "the plan of before on an advanced state": (plan("update", OTHER_INPUTS), AFTER, {}),
    "no state": (plan("no-op", OTHER_INPUTS), None, {}),
    "another source": (plan("no-op", OTHER_INPUTS), AFTER, {"snapshot_sha256": "sha256:" + "9" * 64}),
    "the look failed": (None, AFTER, {"status": "failed"}),
}


@pytest.mark.parametrize("case", UNTOLD)
async def test_everything_else_waits_for_a_human_and_is_not_looked_at_again(exact: Gate, case: str) -> None:
    operation = await unknown(exact)
    data, state, changes = UNTOLD[case]
    assert await looked(exact, data, state, **changes) == "indeterminate"
    assert "does not tell" in (await exact.operation(operation)).message
    assert await Tofu(exact, "runner-1").poll() is None
    resolved = await exact.desk.resolve(human("carol", "admin"), operation.id, "failed_partial", "I looked myself")
    assert resolved.state.value == "failed"


async def test_a_first_state_has_nothing_to_be_compared_with(exact: Gate) -> None:
    await unknown(exact, before=None)
    assert await looked(exact, plan("no-op", OTHER_INPUTS), AFTER) == "indeterminate"


async def test_nobody_looks_while_the_writer_may_live(exact: Gate) -> None:
    operation, _ = await applied(exact)
    exact.clock.advance(exact.core.timing.lease + 1)
    await sweep(exact.core)
    assert (await exact.operation(operation)).state.value == "indeterminate"
    assert await Tofu(exact, "runner-2").poll() is None, "its teardown is not proven"
    exact.clock.advance(7200)
    assert (await Tofu(exact, "runner-2").take()).grant.phase is Phase.VERIFY, "its time is over"


async def test_a_predicted_driver_is_never_looked_at(gate: Gate) -> None:
    operation, lease = await gate.applied()
    await gate.runner().receipt(lease)
    exact = await gate.operation(operation)
    assert exact.state.value == "indeterminate"
    assert await gate.runner("runner-2").poll() is None


async def test_no_apply_of_its_target_comes_before_the_look(exact: Gate) -> None:
    """Else nobody could say whose change the look shows."""
    first = await unknown(exact)
    second, runner = await exact.ask(replicas=4), Tofu(exact, "runner-1")
    look = await runner.take()
    assert look.grant.phase is Phase.VERIFY
    lease = await runner.take()
    assert (lease.grant.operation, lease.grant.phase) == (second.id, Phase.PLAN)
    await runner.start(lease)
    await runner.report(lease, runner.shown(lease, Stage.PLAN, plan(), BEFORE))
    await runner.receipt(lease)
    assert await runner.poll() is None
    waiting = (await exact.operation(second)).waiting_for or ""
    assert waiting.startswith("verify:") and first.id not in waiting
    await runner.start(look)
    await runner.report(look, runner.shown(look, Stage.VERIFY, plan(), BEFORE))
    assert (await runner.take()).grant.operation == second.id


async def test_a_look_that_is_lost_is_made_again_a_few_times(exact: Gate) -> None:
    operation = await unknown(exact)
    for _ in range(MAX_LOOKS):
        lease = await Tofu(exact, "runner-2").take()
        await Tofu(exact, "runner-2").start(lease)
        assert await Tofu(exact, "runner-1").poll() is None, "one look at a time"
        exact.clock.advance(exact.core.timing.lease + 1)
        await sweep(exact.core)
        assert (await exact.operation(operation)).state.value == "indeterminate"
    assert await Tofu(exact, "runner-2").poll() is None


async def test_a_look_is_kept_alive_and_starts_once(exact: Gate) -> None:
    await unknown(exact)
    runner = Tofu(exact, "runner-2")
    lease = await runner.take()
    beat = await exact.door.heartbeat(runner.peer, lease.attempt, Heartbeat(lease.grant.fence))
    assert (beat.cancel, beat.lease_seconds) == (False, exact.core.timing.lease)
    assert (await runner.start(lease)).permit is not None
    assert (await runner.start(lease)).permit is None
    beat = await exact.door.heartbeat(runner.peer, lease.attempt, Heartbeat(lease.grant.fence))
    assert not beat.cancel


async def test_who_lost_standing_is_not_looked_after(exact: Gate) -> None:
    """A look runs a tool with credentials on behalf of whoever asked; a human decides instead."""
    operation = await unknown(exact)
    runner = Tofu(exact, "runner-2")
    lease = await runner.take()
    await exact.desk.revoke(human("carol", "admin"), "principal", operation.principal.id, "left the company")
    request = StartRequest(lease.grant.fence, INPUTS, None, None)
    assert (await exact.door.start(runner.peer, lease.attempt, request)).permit is None
    assert (await exact.operation(operation)).state.value == "indeterminate"


async def test_a_human_may_resolve_it_meanwhile_and_the_look_is_over(exact: Gate) -> None:
    operation = await unknown(exact)
    runner = Tofu(exact, "runner-2")
    lease = await runner.take()
    await runner.start(lease)
    await exact.desk.resolve(human("carol", "admin"), operation.id, "succeeded", "I looked myself")
    with pytest.raises(Clash):
        await runner.report(lease, runner.shown(lease, Stage.VERIFY, plan(), BEFORE))
    assert (await exact.operation(operation)).state.value == "succeeded"
