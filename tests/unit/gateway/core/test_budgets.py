"""Budgets from the request to the end: what is claimed, by whom, when it is free again, and that nobody is faster than the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.gate import Gate, Lease
from tests.invariants.parties import EMPTY, ISSUER, agent, human, plan_bytes

from lockgate.contract.intent import Stage
from lockgate.gateway.errors import Forbidden, Unavailable
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.states import State
from lockgate.gateway.policydesk import PolicyDesk
from lockgate.gateway.scheduling.rates import Rates
from lockgate.gateway.scheduling.wakeups import Wakeups
from lockgate.gateway.store.port import Admit, Command, DecisionsOf, Outcome, Overdrawn, ReadPast
from lockgate.policy.embedded import EmbeddedEngine

HOUR = 3600
FOUR = plan_bytes(*["update"] * 4)
Opened = Callable[..., Any]


def budget(name: str, **parts: Any) -> str:
    """One entry of `budgets` in policy data."""
    entry = {"per": "principal", "counts": "operations", "window_seconds": HOUR, "limit": 5, "effect": "deny"}
    return json.dumps({"name": name, **entry, **parts})


@pytest.fixture
async def opened(tmp_path: Path, library: Callable[..., EmbeddedEngine]) -> AsyncIterator[Opened]:
    """Opens a gate under these budgets; the same store again when asked twice."""
    gates: list[Gate] = []

    async def open_one(*budgets: str) -> Gate:
        engine = library(("version: 1", f"version: 1\nbudgets: [{', '.join(budgets)}]"))
        if not gates:
            gates.append(await Gate(tmp_path / "store" / "store.db", engine).open())
        gates[0].core.policy = engine
        return gates[0]

    yield open_one
    for gate in gates:
        await gate.close()


async def told(gate: Gate, operation: Operation) -> dict[str, Any]:
    """`context.budgets` of the operation's latest decision, as it was recorded."""
    record = (await gate.store.read(DecisionsOf(operation.id)))[-1]
    assert record.input is not None
    budgets: dict[str, Any] = json.loads(record.input.data())["context"]["budgets"]
    return budgets


async def to_plan(gate: Gate, operation: Operation) -> Lease:
    """A started plan attempt of the operation."""
    lease = await gate.runner().take()
    assert lease.grant.operation == operation.id
    await gate.runner().start(lease)
    return lease


async def apply(gate: Gate, operation: Operation, plan: bytes, *ending: bytes, **outcome: Any) -> Operation:
    """The operation after its apply; `ending` is what verify finds."""
    runner = gate.runner()
    lease = await runner.take()
    assert lease.grant.operation == operation.id
    assert (await runner.start_apply(lease, plan)).permit is not None
    stages = [runner.stage(lease, Stage.APPLY, **outcome)]
    stages += [runner.stage(lease, Stage.VERIFY, plan=shown) for shown in ending]
    await runner.report(lease, *stages)
    await runner.receipt(lease)
    return await gate.operation(operation)


def rules(operation: Operation) -> list[str]:
    return [reason.rule for reason in operation.reasons]


async def test_of_fifty_requests_at_once_exactly_as_many_pass_as_the_budget_allows(opened: Opened) -> None:
    gate = await opened(budget("hourly"))
    asked = await asyncio.gather(*(gate.ask() for _ in range(50)))
    assert [one.state for one in asked].count(State.QUEUED) == 5
    denied = [one for one in asked if one.state is State.DENIED]
    assert len(denied) == 45
    for one in denied:
        assert rules(one) == ["budget"]
        says = {"window_seconds": HOUR, "limit": 5, "used": 5, "asked": 1, "free_at": None}
        assert await told(gate, one) == {"hourly": says}


async def test_one_humans_many_agents_share_a_budget_of_the_owner(opened: Opened) -> None:
    gate = await opened(budget("hourly", per="owner"))
    alices = [agent(f"bot-{n}", owner=ISSUER + "#alice", on_behalf_of=None) for n in range(10)]
    alices += [agent(f"bot-{n}") for n in range(10, 20)]  # on behalf of alice
    asked = await asyncio.gather(*(gate.ask(who) for who in alices))
    assert [one.state for one in asked].count(State.QUEUED) == 5
    assert (await gate.ask(agent("bot", on_behalf_of=ISSUER + "#bob"))).state is State.QUEUED


async def test_a_budget_counts_what_the_plan_says_and_a_denial_frees_it(opened: Opened) -> None:
    gate = await opened(budget("changes", counts="changes"))
    first = await gate.planned(await gate.ask(), FOUR)
    assert (first.state, first.phase) == (State.QUEUED, "apply")
    second = await gate.ask(target="web-prod")
    assert second.state is State.QUEUED
    assert (await told(gate, second))["changes"] == {"window_seconds": HOUR, "limit": 5, "used": 4, "asked": 0}
    await gate.desk.cancel(first.principal, first.id)
    second = await gate.planned(second, plan_bytes(*["update"] * 6))
    assert rules(second) == ["budget"]
    assert (await told(gate, second))["changes"]["used"] == 0
    assert (await gate.planned(await gate.ask(), FOUR)).state is State.QUEUED


async def test_of_plans_reported_at_once_no_two_take_the_same_room(opened: Opened) -> None:
    gate = await opened(budget("changes", counts="changes"))
    runner, leases = gate.runner(), []
    for target in ("web-dev", "web-prod"):
        leases.append(await to_plan(gate, await gate.ask(target=target)))
    stages = [runner.stage(lease, Stage.PLAN, plan=FOUR) for lease in leases]
    states = await asyncio.gather(*(runner.report(*both) for both in zip(leases, stages, strict=True)))
    assert states.count("denied") == 1


async def test_what_was_changed_counts_until_the_window_is_over(opened: Opened) -> None:
    gate = await opened(budget("changes", counts="changes"))
    done = await apply(gate, await gate.planned(await gate.ask(), FOUR), FOUR, EMPTY)
    assert done.state is State.SUCCEEDED
    gate.clock.advance(HOUR - 1)
    late = await gate.planned(await gate.ask(), FOUR)
    assert (late.state, late.phase) == (State.QUEUED, "apply")  # it waits at its apply: time cures this
    assert await gate.runner().poll() is None
    assert (await gate.operation(late)).waiting_for == "budget"
    gate.clock.advance(0.999)
    assert await gate.runner().poll() is None
    gate.clock.advance(0.001)
    lease = await gate.runner().take()
    assert lease.grant.operation == late.id


@pytest.mark.parametrize(
    ("shown", "state", "used"),
    [(FOUR, "failed", 0), (plan_bytes("update"), "failed", 4), (None, "indeterminate", 4)],
    ids=["unchanged", "partial", "unknown"],
)
async def test_a_failure_frees_the_budget_only_where_nothing_was_changed(
    opened: Opened, shown: bytes | None, state: str, used: int
) -> None:
    gate = await opened(budget("changes", counts="changes", per="tenant"))
    first = await gate.planned(await gate.ask(), FOUR)
    first = await apply(gate, first, FOUR, *([] if shown is None else [shown]), status="failed")
    assert first.state.value == state
    assert (await told(gate, await gate.ask(agent("other"))))["changes"]["used"] == used
    gate.clock.advance(2 * HOUR)
    after = await told(gate, await gate.ask(agent("other")))
    assert after["changes"]["used"] == (4 if state == "indeterminate" else 0)
    if state == "indeterminate":
        await gate.desk.resolve(human("dan", "admin"), first.id, "failed_none", "looked at it")
        assert (await told(gate, await gate.ask(agent("other"))))["changes"]["used"] == 0


async def test_what_waits_for_approval_holds_its_place_and_passes_when_approved(opened: Opened) -> None:
    gate = await opened(budget("changes", counts="changes"))
    held = await gate.pending(plan=FOUR)
    gate.clock.advance(HOUR - 60)
    assert rules(await gate.planned(await gate.ask(), FOUR)) == ["budget"]
    await gate.vote(held, human("carol"))
    assert (await apply(gate, held, FOUR, EMPTY)).state is State.SUCCEEDED


async def test_a_request_that_time_cures_waits_uncounted_and_goes_on_by_itself(opened: Opened) -> None:
    gate = await opened(budget("hourly", limit=1))
    first = await gate.planned(await gate.ask())
    assert (await apply(gate, first, plan_bytes(), EMPTY)).state is State.SUCCEEDED
    gate.clock.advance(60)
    waiting = [await gate.ask() for _ in range(2)]
    assert [(one.state, one.waiting_for) for one in waiting] == [(State.QUEUED, "budget")] * 2
    assert (await told(gate, waiting[1]))["hourly"]["used"] == 1
    assert await gate.runner().poll() is None
    gate.clock.advance(HOUR - 60)
    lease = await gate.runner().take()
    assert lease.grant.operation == waiting[0].id
    assert await gate.runner("runner-2").poll() is None


async def test_with_the_clock_stepped_back_nothing_is_freed(opened: Opened) -> None:
    gate = await opened(budget("hourly", limit=1))
    first = await gate.planned(await gate.ask())
    assert (await apply(gate, first, plan_bytes(), EMPTY)).state is State.SUCCEEDED
    gate.clock.advance(-10 * HOUR)
    assert (await told(gate, await gate.ask()))["hourly"]["used"] == 1


async def test_a_budget_changed_by_a_reload_is_held_against_what_was_done_before(opened: Opened) -> None:
    gate = await opened()
    for target in ("web-dev", "web-prod"):
        assert (await gate.ask(target=target)).state is State.QUEUED
    gate = await opened(budget("new", limit=2))
    assert rules(await gate.ask()) == ["budget"]
    gate = await opened(budget("renamed and raised", limit=3))
    assert (await gate.ask()).state is State.QUEUED
    gate = await opened(budget("lowered", limit=1), budget("of production", targets={"environments": ["production"]}))
    last = await gate.ask(target="web-prod")
    assert {name: one["used"] for name, one in (await told(gate, last)).items()} == {"lowered": 3, "of production": 1}


async def test_reads_and_dry_runs_ask_for_nothing(opened: Opened) -> None:
    gate = await opened(budget("hourly", limit=1))
    assert (await gate.ask(action="service_status")).state is State.QUEUED
    assert (await gate.ask(dry_run=True)).state is State.QUEUED
    assert (await gate.ask()).state is State.QUEUED
    dry = await gate.ask(dry_run=True)
    assert dry.state is State.QUEUED
    assert (await told(gate, dry))["hourly"]["asked"] == 0
    read = await gate.ask(action="service_status")
    assert await told(gate, read) == {}


async def test_a_planned_operation_that_is_applied_takes_what_its_plan_says(opened: Opened) -> None:
    gate = await opened(budget("changes", counts="changes"), budget("hourly", limit=2))
    dry = await gate.planned(await gate.ask(dry_run=True), FOUR)
    assert dry.state is State.PLANNED and dry.plan is not None
    call = {"operation_id": dry.id, "semantic_sha256": dry.plan.semantic_sha256, "reason": "as seen"}
    applied = await gate.desk.apply_plan(dry.principal, call)
    assert (applied.state, applied.phase) == (State.QUEUED, "apply")
    second = await gate.desk.apply_plan(dry.principal, call)
    assert rules(second) == ["budget"]
    assert (await told(gate, second))["changes"]["used"] == 4


async def test_above_a_budget_that_asks_for_approval_a_human_decides(opened: Opened) -> None:
    gate = await opened(budget("changes", counts="changes", effect="approve"))
    first = await gate.planned(await gate.ask(), FOUR)
    assert (first.state, first.phase) == (State.QUEUED, "apply")
    await apply(gate, first, FOUR, EMPTY)
    second = await gate.planned(await gate.ask(), FOUR)
    assert second.state is State.PENDING_APPROVAL
    await gate.vote(second, human("carol"))
    assert (await apply(gate, second, FOUR, EMPTY)).state is State.SUCCEEDED
    assert (await told(gate, await gate.ask()))["changes"]["used"] == 8


async def test_people_with_view_are_told_who_uses_what_and_what_a_waiting_operation_lacks(opened: Opened) -> None:
    gate = await opened(budget("hourly", limit=1), budget("of production", targets={"environments": ["production"]}))
    done = await apply(gate, await gate.planned(await gate.ask()), plan_bytes(), EMPTY)
    waiting = await gate.ask()
    carol, desk = human("carol"), PolicyDesk(gate.core, Wakeups(), Rates(1000.0, 1000, gate.clock))
    hourly, production = await desk.budgets(carol)
    assert hourly["used"] == [{"who": done.principal.id, "used": 1}]
    assert (production["name"], production["used"]) == ("of production", [])
    told = (await desk.explain(carol, waiting.id)).awaited
    assert told == ("budget hourly: 1 used and 1 asked of 1 in 3600 s; enough is free at 2027-01-15T09:00:00Z",)
    assert (await desk.explain(waiting.principal, waiting.id)).awaited == ()
    with pytest.raises(Forbidden):
        await desk.budgets(waiting.principal)
    gate.clock.advance(HOUR)
    assert (await desk.budgets(carol))[0]["used"] == []
    assert (await desk.explain(carol, waiting.id)).awaited == ("budget",)


class Contested:
    """The real store, in which somebody else is always faster."""

    def __init__(self, store: Any) -> None:
        self.store = store

    async def commit(self, command: Command) -> Outcome:
        return Overdrawn("hourly") if isinstance(command, Admit) else await self.store.commit(command)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


async def test_who_is_always_too_late_is_told_so_and_nothing_is_recorded(opened: Opened) -> None:
    gate = await opened(budget("hourly"))
    gate.core.store = Contested(gate.store)
    with pytest.raises(Unavailable, match="budgets keep changing; nothing was recorded"):
        await gate.ask()
    assert await gate.runner().poll() is None


class Moving:
    """A policy that is another one behind the same face, as an OPA server's is."""

    def __init__(self, now: EmbeddedEngine) -> None:
        self.now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)


async def test_a_policy_that_becomes_another_while_the_past_is_read_is_told_what_it_wants_itself(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    loose = (await opened(budget("loose"))).core.policy
    gate = await opened(budget("strict"))
    strict, read = gate.core.policy, gate.store.read
    moving = gate.core.policy = Moving(loose)

    async def slow(query: Any) -> Any:
        found = await read(query)
        moving.now = strict if isinstance(query, ReadPast) else moving.now
        return found

    monkeypatch.setattr(gate.store, "read", slow)
    assert list(await told(gate, await gate.ask())) == ["strict"]
