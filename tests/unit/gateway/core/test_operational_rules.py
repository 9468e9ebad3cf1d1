"""Operational rules through a whole gate: freeze periods and exceptions, votes of several groups, what must not follow what."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import agent, human

from lockgate.contract.decision import Decision
from lockgate.gateway.operations.awaited import awaited
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.states import State
from lockgate.gateway.operations.views import agent_view, summary_line
from lockgate.gateway.store.port import AuditEntries, DecisionsOf
from lockgate.policy.embedded import EmbeddedEngine

Opened = Callable[..., Awaitable[Gate]]
FREEZE = (
    "freezes: [{name: migration, targets: {names: [web-dev]}, from: '2027-01-01T00:00:00Z',"
    " until: '2027-01-15T09:00:00Z', reason: two systems}]\n"
)
WINDOW = "windows: [{name: weekend-secret-name, targets: {names: [web-dev]}, days: [saturday], from: '10:00', to: '11:00', zone: UTC}]\n"
EXCEPTION = "exceptions: [{name: CHG-7, rules: [freeze_period], actions: [set_replicas], until: '2027-01-15T08:30:00Z', reason: urgent}]\n"
SEQUENCE = (
    "\nrules:\n",
    "\nrules:\n  sequence:\n    - {effect: deny, after: {outcomes: [denied], target: any}, forbid: {effects: [change]},"
    " within_seconds: 600}\n",
)


@pytest.fixture
async def opened(tmp_path: Path, library: Callable[..., EmbeddedEngine]) -> AsyncIterator[Opened]:
    """Opens a gate under the data of `lockgate dev` with these parts more. It is 2027-01-15T08:00:00Z."""
    gates: list[Gate] = []

    async def open_one(more: str, *edits: tuple[str, str]) -> Gate:
        engine = library(("version: 1\n", f"version: 1\n{more}"), *edits)
        gates.append(await Gate(tmp_path / "store" / "store.db", engine).open())
        return gates[-1]

    yield open_one
    for gate in gates:
        await gate.close()


async def latest(gate: Gate, operation: Operation) -> Decision:
    records = await gate.store.read(DecisionsOf(operation.id))
    return Decision.from_document(records[-1].document)


async def test_an_apply_waits_for_the_end_of_a_freeze_period_and_goes_on_by_itself(opened: Opened) -> None:
    gate = await opened(FREEZE)
    operation = await gate.planned(await gate.ask())
    assert await gate.runner().poll() is None
    waiting = await gate.operation(operation)
    assert (waiting.state, waiting.phase) == (State.QUEUED, "apply")
    assert waiting.waiting_for == "freeze_period:2027-01-15T09:00:00Z"
    other = await gate.planned(await gate.ask(target="web-prod"))
    assert other.state is State.PENDING_APPROVAL  # of another target: nothing waits
    gate.clock.advance(3601)
    assert (await gate.runner().take()).grant.operation == operation.id


async def test_an_exception_lets_it_through_and_stands_in_the_decision(opened: Opened) -> None:
    gate = await opened(FREEZE + EXCEPTION)
    operation = await gate.planned(await gate.ask())
    assert (await gate.runner().take()).grant.operation == operation.id
    used = (await latest(gate, operation)).exceptions
    assert [(one.rule, one.name, one.until) for one in used] == [("freeze_period", "CHG-7", "2027-01-15T08:30:00Z")]


async def test_an_exception_that_has_expired_lets_nothing_through(opened: Opened) -> None:
    gate = await opened(FREEZE + EXCEPTION)
    gate.clock.advance(1800)
    operation = await gate.planned(await gate.ask())
    assert await gate.runner().poll() is None
    assert (await gate.operation(operation)).waiting_for == "freeze_period:2027-01-15T09:00:00Z"


async def test_who_waits_for_a_window_is_told_when_it_opens_and_nothing_of_the_window(opened: Opened) -> None:
    gate = await opened(WINDOW)
    operation = await gate.planned(await gate.ask())
    for _ in range(3):
        assert await gate.runner().poll() is None
    waiting = await gate.operation(operation)
    view = agent_view(waiting)
    opens = "2027-01-16T10:00:00Z"
    assert (view["waiting_for"], view["next"]["opens_at"]) == (f"change_window:{opens}", opens)
    assert f"may be changed from {opens} on" in view["message"]
    assert f"It opens at {opens}." in summary_line(waiting)
    assert "weekend-secret-name" not in json.dumps(view)
    told = [entry.body for entry in await gate.store.read(AuditEntries(kind="operation.waits"))]
    assert [body["waiting_for"] for body in told] == [f"change_window:{opens}"], "once, however often it is looked at"
    gate.clock.advance(26 * 3600 - 1)
    assert await gate.runner().poll() is None
    gate.clock.advance(1)
    assert (await gate.runner().take()).grant.operation == operation.id


async def test_a_window_that_passed_without_a_runner_is_told_by_its_next_opening(opened: Opened) -> None:
    gate = await opened(WINDOW)
    operation = await gate.planned(await gate.ask())
    assert await gate.runner().poll() is None
    gate.clock.advance(27 * 3600)
    assert await gate.runner().poll() is None
    assert (await gate.operation(operation)).waiting_for == "change_window:2027-01-23T10:00:00Z"


GROUPS = (
    ("  admin:  ", "  security: {questions: [list, view, approve]}\n  admin:  "),
    ("regions:", "  - {subject: {role: security}, kind: human, roles: [security]}\nregions:"),
    ("approvers: [approver]", "approvers: [approver, security]"),
    ("groups: [approver]", "groups: {approver: 2, security: 1}"),
    ("{count: 1, ", "{"),
)


async def test_every_group_must_bring_its_own_number_of_votes(opened: Opened) -> None:
    gate = await opened("", *GROUPS)
    operation = await gate.pending()
    assert "of the groups: 2 of approver, 1 of security" in await awaited(gate.core, operation)
    for voter in (human("carol"), human("dave"), human("erin")):
        operation = await gate.vote(operation, voter)
        assert operation.state is State.PENDING_APPROVAL  # three of one group are none of the other
    operation = await gate.vote(operation, human("frank", "security"))
    assert (operation.state, operation.phase) == (State.QUEUED, "apply")


async def test_one_voter_counts_for_each_group_of_theirs_and_once_in_all(opened: Opened) -> None:
    gate = await opened("", *GROUPS)
    operation = await gate.vote(await gate.pending(), human("carol", "approver", "security"))
    assert operation.state is State.PENDING_APPROVAL
    operation = await gate.vote(operation, human("dave"))
    assert (operation.state, operation.phase) == (State.QUEUED, "apply")


async def test_nothing_follows_a_denial_until_the_pause_is_over(opened: Opened) -> None:
    gate = await opened("", SEQUENCE)
    refused = await gate.ask(agent(roles=("stranger",)))
    assert [reason.rule for reason in refused.reasons] == ["role"]
    gate.clock.advance(599)
    soon = await gate.ask()
    assert (soon.state, [reason.rule for reason in soon.reasons]) == (State.DENIED, ["sequence"])
    assert (await latest(gate, soon)).violations[0].details["after"] == [refused.id]
    assert (await gate.ask(agent("other"))).state is State.QUEUED
    gate.clock.advance(2)
    assert (await gate.ask()).state is State.QUEUED  # its own denials do not prolong it


async def test_a_flood_of_harmless_calls_does_not_wash_a_denial_away(opened: Opened) -> None:
    gate = await opened("", SEQUENCE)
    await gate.ask(agent(roles=("stranger",)))
    for _ in range(70):
        await gate.ask(action="service_status")
    flooded = await gate.ask()
    assert [reason.rule for reason in flooded.reasons] == ["sequence"]
    assert (await latest(gate, flooded)).violations[0].details["history"] == "does not reach back far enough"
