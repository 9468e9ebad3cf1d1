"""Two that come at the same time: for every order of their words with the store, what must hold afterwards holds."""

from __future__ import annotations

from typing import Any

import pytest
from tests.attacks.interleavings import Act, every_order
from tests.invariants.conftest import MakeEngine
from tests.invariants.gate import Gate
from tests.invariants.parties import agent, human, plan_bytes

from lockgate.contract.intent import Stage
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.store.port import AuditEntries, VotesOf

LEAST_ORDERS = 4
"""An act that hardly speaks with the store would make these tests say nothing."""


async def kinds(gate: Gate) -> list[str]:
    return [entry.kind for entry in await gate.store.read(AuditEntries(limit=500))]


def voting(gate: Gate, operation: Operation, name: str, verdict: str = "approve") -> Act:
    return lambda: gate.vote(operation, human(name), verdict)


async def starting(gate: Gate) -> tuple[Act, Operation]:
    """A leased apply's *start*, its check made, about to be said."""
    operation, lease = await gate.applying()
    runner = gate.runner()
    check = runner.stage(lease, Stage.CHECK, plan=plan_bytes())
    return lambda: runner.start(lease, check=check), operation


async def test_two_approvals_are_both_counted_or_refused_and_never_lost(library: MakeEngine) -> None:
    async def prepare(gate: Gate) -> tuple[Act, Act, Any]:
        operation = await gate.pending()
        return voting(gate, operation, "carol"), voting(gate, operation, "dave"), operation

    orders = 0
    async for run in every_order(library(("standard: {count: 1,", "standard: {count: 2,")), prepare):
        orders += 1
        counted = {vote.voter.subject for vote in await run.gate.store.read(VotesOf(run.set_up.id))}
        said = {name for name, end in (("carol", run.first), ("dave", run.second)) if not end.refused}
        assert counted == said, run
        now = await run.gate.operation(run.set_up)
        assert now.state.value == ("queued" if len(counted) == 2 else "pending_approval"), run
    assert orders >= LEAST_ORDERS


async def test_one_human_twice_at_once_is_one_approver(library: MakeEngine) -> None:
    async def prepare(gate: Gate) -> tuple[Act, Act, Any]:
        operation = await gate.pending()
        return voting(gate, operation, "carol"), voting(gate, operation, "carol"), operation

    async for run in every_order(library(("standard: {count: 1,", "standard: {count: 2,")), prepare):
        assert (await run.gate.operation(run.set_up)).state.value == "pending_approval", run
        assert await run.gate.runner().poll() is None


@pytest.mark.parametrize("rejection", ["first", "second"])
async def test_a_rejection_that_was_taken_is_final(library: MakeEngine, rejection: str) -> None:
    async def prepare(gate: Gate) -> tuple[Act, Act, Any]:
        operation = await gate.pending()
        acts = voting(gate, operation, "carol", "reject"), voting(gate, operation, "dave")
        return (*(acts if rejection == "first" else acts[::-1]), operation)

    async for run in every_order(library(), prepare):
        rejecting = run.first if rejection == "first" else run.second
        now = await run.gate.operation(run.set_up)
        leased = await run.gate.runner().poll()
        if rejecting.refused:
            assert now.state.value == "queued" and leased is not None, run
        else:
            assert now.state.value == "denied" and leased is None, run


@pytest.mark.parametrize("starts", ["first", "second"])
async def test_a_cancel_comes_before_the_permit_or_is_only_noted(library: MakeEngine, starts: str) -> None:
    async def prepare(gate: Gate) -> tuple[Act, Act, Any]:
        start, operation = await starting(gate)
        acts: tuple[Act, Act] = start, lambda: gate.desk.cancel(agent(), operation.id)
        return (*(acts if starts == "first" else acts[::-1]), operation)

    outcomes = set()
    async for run in every_order(library(), prepare):
        start = run.first if starts == "first" else run.second
        permitted = start.answer is not None and start.answer.permit is not None
        now = await run.gate.operation(run.set_up)
        # Never both: a change that was let go, and an operation that says nothing was changed.
        assert (now.state.value == "running") is permitted, run
        if permitted:
            assert now.cancel_requested or (run.second if starts == "first" else run.first).refused, run
        outcomes.add(now.state.value)
    assert outcomes == {"running", "cancelled"}, "both ends were met"


@pytest.mark.parametrize("leases", ["first", "second"])
async def test_what_was_leased_while_its_caller_was_revoked_never_starts(library: MakeEngine, leases: str) -> None:
    async def prepare(gate: Gate) -> tuple[Act, Act, Any]:
        operation = await gate.ask()
        gate.clock.advance(1)
        runner = gate.runner()
        acts: tuple[Act, Act] = (
            runner.poll,
            lambda: gate.desk.revoke(human("root", "admin"), "principal", agent().id, "it was stolen"),
        )
        return (*(acts if leases == "first" else acts[::-1]), operation)

    async for run in every_order(library(), prepare):
        leasing, revoking = (run.first, run.second) if leases == "first" else (run.second, run.first)
        assert not revoking.refused, run
        if leasing.answer is not None:
            assert (await run.gate.runner().start(leasing.answer)).permit is None, run
        assert "start.committed" not in await kinds(run.gate)
        assert await run.gate.runner("runner-2").poll() is None
        assert (await run.gate.operation(run.set_up)).state.value in ("denied", "leased"), run


@pytest.mark.parametrize("starts", ["first", "second"])
async def test_nothing_starts_once_the_freeze_is_in_the_log(library: MakeEngine, starts: str) -> None:
    async def prepare(gate: Gate) -> tuple[Act, Act, Any]:
        start, operation = await starting(gate)
        acts: tuple[Act, Act] = start, lambda: gate.desk.freeze(human("root", "admin"), "*", True, "something is wrong")
        return (*(acts if starts == "first" else acts[::-1]), operation)

    permits = set()
    async for run in every_order(library(), prepare):
        start = run.first if starts == "first" else run.second
        permitted = start.answer is not None and start.answer.permit is not None
        log = await kinds(run.gate)
        froze = next(place for place, kind in enumerate(log) if "freeze" in kind)
        started = [place for place, kind in enumerate(log) if kind == "start.committed" and place > froze]
        assert started == [], run
        # Of the two starts, plan and apply, the second is there exactly when a permit was given.
        assert log.count("start.committed") == 1 + permitted, run
        permits.add(permitted)
    assert permits == {True, False}, "both ends were met"
