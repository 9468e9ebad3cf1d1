"""What counts as a denied request, and what does not; how it is counted by rule, action, agent and day."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import agent, human, plan_bytes

from lockgate.gateway import friction, policydesk
from lockgate.gateway.errors import BadInput, Forbidden
from lockgate.gateway.friction import MAX_KEYS, Friction, Window, measure
from lockgate.gateway.operations.model import Reason
from lockgate.gateway.policydesk import PolicyDesk
from lockgate.gateway.scheduling.rates import Rates
from lockgate.gateway.scheduling.wakeups import Wakeups
from lockgate.gateway.store.asked import AskedOperation, AskedOperations
from lockgate.gateway.store.port import Store
from lockgate.gateway.store.sqlite import SqliteStore

DAY = 24 * 3600 * 1000
NOON = 1_800_014_400_000
WEEK = Window(NOON - 7 * DAY, NOON)


def asked(ordinal: int, *rules: str, state: str = "", **changes: object) -> AskedOperation:
    reasons = tuple(Reason(rule, f"Title of {rule}", "why", f"do something about {rule}") for rule in rules)
    values: dict[str, Any] = {
        "at": NOON - 1000 * (100 - ordinal),
        "principal": "iss#bot",
        "action": "deploy",
        "request_sha256": f"{ordinal}",
        **changes,
    }
    return AskedOperation(
        ordinal=ordinal, state=state or ("denied" if rules else "succeeded"), reasons=reasons, **values
    )


def counted(*operations: AskedOperation, window: Window = WEEK) -> dict:
    found = Friction(window)
    found.add(sorted(operations, key=lambda item: -item.ordinal))
    return found.document()


def test_numerator_denominator_and_objective() -> None:
    allowed = [asked(n) for n in range(98)]
    one = counted(asked(98, "role"), *allowed)
    assert (one["denied"], one["asked"], one["share"]) == (1, 99, 1 / 99)
    assert one["objective"] == {"below": 0.02, "met": True}
    two = counted(asked(98, "role"), asked(99, "role"), *allowed)
    assert (two["denied"], two["asked"], two["objective"]["met"]) == (2, 100, False)


def test_where_nothing_was_asked_nothing_is_met_or_missed() -> None:
    nothing = counted()
    assert (nothing["asked"], nothing["share"], nothing["objective"]["met"]) == (0, None, None)


@pytest.mark.parametrize(
    ("operation", "aside"),
    [
        (asked(1, state="queued"), "waiting"),
        (asked(1, state="pending_approval"), "waiting"),
        (asked(1, state="indeterminate"), "waiting"),
        (asked(1, "rejected"), "rejected"),
        (asked(1, state="expired"), None),
        (asked(1, "lockgate.tool", state="failed"), None),
        (asked(1, state="cancelled"), None),
    ],
    ids=lambda item: getattr(item, "state", item),
)
def test_what_waits_was_rejected_or_failed_is_asked_and_not_denied(
    operation: AskedOperation, aside: str | None
) -> None:
    found = counted(operation)
    assert (found["asked"], found["denied"], found["rules"]) == (1, 0, [])
    assert {name: found[name] for name in ("waiting", "rejected")} == {
        name: int(name == aside) for name in ("waiting", "rejected")
    }


def test_only_the_window_counts_and_every_day_of_it_is_told() -> None:
    found = counted(
        asked(1, "role", at=WEEK.since - 1),
        asked(2, "role", at=WEEK.since),
        asked(3, at=WEEK.until - 1),
        asked(4, "role", at=WEEK.until),
    )
    assert (found["asked"], found["denied"]) == (2, 1)
    days = found["days"]
    assert len(days) == 8 and days[0]["day"] == "2027-01-08" and days[-1]["day"] == "2027-01-15"
    assert [day["asked"] for day in days] == [1, 0, 0, 0, 0, 0, 0, 1]
    assert (days[0]["share"], days[1]["share"], days[-1]["share"]) == (1.0, None, 0.0)


def test_a_request_denied_by_two_rules_is_one_request_and_counts_for_each_rule() -> None:
    found = counted(asked(1, "role", "budget"), asked(2, "role"), asked(3))
    assert (found["denied"], found["asked"]) == (2, 3)
    assert [(row["rule"], row["denied"], row["share"]) for row in found["rules"]] == [
        ("role", 2, 2 / 3),
        ("budget", 1, 1 / 3),
    ]
    assert found["rules"][0]["fix"] == "do something about role"


def test_actions_and_agents_are_told_most_denied_first() -> None:
    found = counted(
        asked(1, action="a", principal="iss#one"),
        asked(2, "role", action="b", principal="iss#two"),
        asked(3, "role", action="b", principal="iss#one"),
    )
    assert [(row["action"], row["denied"], row["asked"]) for row in found["actions"]] == [("b", 2, 2), ("a", 0, 1)]
    assert [(row["agent"], row["denied"], row["asked"]) for row in found["agents"]] == [
        ("iss#one", 1, 2),
        ("iss#two", 1, 1),
    ]


def test_a_retry_counts_once_as_the_newest_ended_and_only_of_the_same_agent() -> None:
    tries = (
        asked(1, "role", request_sha256="x"),
        asked(2, "role", request_sha256="x"),
        asked(3, request_sha256="x"),
        asked(4, "role", request_sha256="x", principal="iss#other"),
    )
    assert counted(*tries)["denied"] == 3
    collapsed = counted(*tries, window=Window(WEEK.since, WEEK.until, None, collapse=True))
    assert (collapsed["asked"], collapsed["denied"], collapsed["collapsed"]) == (2, 1, True)


def test_names_past_the_bound_are_counted_together() -> None:
    found = Friction(WEEK)
    found.add(asked(n, f"rule-{n}", principal=f"iss#{n}", at=NOON - 1) for n in range(MAX_KEYS + 50, 0, -1))
    document = found.document()
    assert document["denied"] == MAX_KEYS + 50
    others = next(row for row in document["agents"] if row["agent"] == friction.OTHER)
    assert others["asked"] == 50
    assert next(row for row in document["rules"] if row["rule"] == friction.OTHER)["denied"] == 50


async def test_a_real_gateway_is_measured_page_by_page(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = await gate.ask(agent("eve", roles=()))
    assert denied.state.value == "denied"
    await gate.planned(await gate.ask(), plan_bytes("no-op"))
    rejected = await gate.pending()
    await gate.vote(rejected, human("carol"), "reject")
    await gate.pending(replicas=5)
    read = type(gate.store).read

    async def small_pages(store: SqliteStore, query: Any) -> Any:
        return await read(store, replace(query, limit=1) if isinstance(query, AskedOperations) else query)

    monkeypatch.setattr(type(gate.store), "read", small_pages)
    found = (await measure(gate.store, Window(0, gate.clock() + 1))).document()
    assert (found["asked"], found["denied"], found["rejected"], found["waiting"]) == (4, 1, 1, 1)
    assert [row["rule"] for row in found["rules"]] == [reason.rule for reason in denied.reasons]
    assert found["rules"][0]["fix"] == denied.reasons[0].fix
    assert {row["agent"]: row["denied"] for row in found["agents"]}[denied.principal.id] == 1
    assert (await measure(gate.store, Window(0, gate.clock() + 1, "another"))).asked == 0
    monkeypatch.setattr(friction, "MAX_COUNTED", 2)
    cut = await measure(gate.store, Window(0, gate.clock() + 1))
    assert cut.cut and cut.asked == 2


async def test_people_with_view_see_their_own_tenant_and_operators_all(gate: Gate) -> None:
    desk = PolicyDesk(gate.core, Wakeups(), Rates(1000.0, 1000, gate.clock))
    await gate.ask(agent("eve", roles=()))
    assert (await desk.friction(human("carol"), 3600, False))["denied"] == 1
    assert (await desk.friction(human("dora", tenant="elsewhere"), 3600, False))["asked"] == 0
    with pytest.raises(Forbidden):
        await desk.friction(human("mallory", "nobody"), 3600, False)
    with pytest.raises(Forbidden):
        await desk.friction(agent("bot"), 3600, False)
    with pytest.raises(BadInput, match="must be 1 to"):
        await desk.friction(human("carol"), 0, False)


async def test_reports_are_made_one_at_a_time(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = PolicyDesk(gate.core, Wakeups(), Rates(1000.0, 1000, gate.clock))
    at_once, most = 0, 0

    async def slow(store: Store, window: Window) -> Friction:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        found = await measure(store, window)
        at_once -= 1
        return found

    monkeypatch.setattr(policydesk, "measure", slow)
    await asyncio.gather(*(desk.friction(human("carol"), 3600, False) for _ in range(5)))
    assert most == 1


async def test_only_what_a_rule_denied_is_counted_for_prometheus(gate: Gate) -> None:
    await gate.ask(agent("eve", roles=()))
    await gate.vote(await gate.pending(), human("carol"), "reject")
    text = gate.core.observer.metrics.text().decode()
    assert "lockgate_requests_denied_total 1.0" in text
    assert 'lockgate_operations_ended_total{state="denied"} 2.0' in text
    assert 'lockgate_audit_entries_total{kind="operation.requested"} 2.0' in text
