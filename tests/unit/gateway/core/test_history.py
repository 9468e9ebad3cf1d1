"""What policy is told of a caller's past: at once, bounded, nobody else's, and only where policy data asks for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import agent, plan_bytes

from lockgate.contract.decision import Decision
from lockgate.gateway.operations.changes import moved
from lockgate.gateway.operations.model import Operation, Reason
from lockgate.gateway.operations.states import Event, State
from lockgate.gateway.store.port import DecisionsOf, Done, Transition
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.replay import Recorded, Verdict, replay


@pytest.fixture
async def asking(tmp_path: Path, library: Callable[..., EmbeddedEngine]) -> AsyncIterator[Gate]:
    """A gateway whose policy data asks for an hour of history."""
    engine = library(("version: 1", "version: 1\nhistory: {window_seconds: 3600}"))
    made = await Gate(tmp_path / "store" / "store.db", engine).open()
    yield made
    await made.close()


async def contexts(gate: Gate, operation: Operation) -> list[dict[str, Any]]:
    """`context` of all the operation's decisions, as they were recorded."""
    records = await gate.store.read(DecisionsOf(operation.id))
    return [json.loads(record.input.data())["context"] for record in records if record.input is not None]


async def history(gate: Gate, operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = (await contexts(gate, operation))[-1]["history"]
    return found


async def test_a_denial_of_a_moment_ago_is_told_to_the_next_question(asking: Gate) -> None:
    denied = await asking.ask(agent(roles=("stranger",)))
    assert denied.state is State.DENIED
    told = await history(asking, await asking.ask())
    assert told["operations"] == [
        {
            "operation": denied.id,
            "action": "set_replicas",
            "effect": "change",
            "target": "web-dev",
            "environment": "dev",
            "state": "denied",
            "rules": ["role"],
            "at": "2027-01-15T08:00:00Z",
        }
    ]
    assert (told["complete"], told["since"]) == (True, "2027-01-15T07:00:01Z")


async def test_every_question_that_leads_to_a_run_is_told(asking: Gate) -> None:
    before = await asking.ask(agent(roles=("stranger",)))
    operation = await asking.planned(await asking.ask(target="web-prod"), plan_bytes())
    told = await contexts(asking, operation)
    assert len(told) == 4  # request; request at the lease and at the start; plan
    for context in told:
        assert [one["operation"] for one in context["history"]["operations"]] == [before.id]


async def test_nobody_elses_past_is_told(asking: Gate) -> None:
    await asking.ask(agent("other"))
    assert (await history(asking, await asking.ask()))["operations"] == []


async def test_what_is_older_than_the_window_is_not_told(asking: Gate) -> None:
    await asking.ask()
    asking.clock.advance(3601)
    assert (await history(asking, await asking.ask()))["operations"] == []


async def test_a_flood_cannot_push_a_denial_out_without_being_seen(asking: Gate) -> None:
    await asking.ask(agent(roles=("stranger",)))
    for _ in range(64):
        asking.clock.advance(1)
        await asking.ask(agent(roles=("stranger",)), action="service_status")
    told = await history(asking, await asking.ask())
    assert len(told["operations"]) == 64
    assert told["complete"] is False
    assert told["since"] == told["operations"][-1]["at"] == "2027-01-15T08:00:01Z"


async def test_without_budgets_or_history_in_policy_data_nothing_is_looked_up(gate: Gate) -> None:
    operation = await gate.ask()
    assert set((await contexts(gate, operation))[0]) == {"now", "freeze", "requester"}


async def test_a_decision_is_made_again_from_its_record_alone(asking: Gate) -> None:
    """Replay needs no store: what was told of the past stands in the input."""
    await asking.ask(agent(roles=("stranger",)))
    operation = await asking.planned(await asking.ask(target="web-prod"), plan_bytes())
    records = await asking.store.read(DecisionsOf(operation.id))
    assert len(records) == 4
    for record in records:
        assert record.input is not None
        again = await replay(asking.engine, Recorded(Decision.from_document(record.document), record.input.data()))
        assert again.verdict is Verdict.SAME


async def test_a_denial_by_many_rules_of_long_names_is_told_within_the_schemas_bounds(asking: Gate) -> None:
    """An input that breaks its schema would deny this caller everything else."""
    operation = await asking.ask()
    reasons = tuple(Reason("r" * 400, "t", "m", "f") for _ in range(100))
    denied = moved(operation, Event.DENIED, asking.clock(), reasons=reasons)
    change = Transition(now=asking.clock(), entries=(), operation=denied, expected_version=operation.version)
    assert isinstance(await asking.core.commit(change), Done)
    following = await asking.ask()
    assert following.state is State.QUEUED
    assert [len(rule) for rule in (await history(asking, following))["operations"][0]["rules"]] == [256] * 32
