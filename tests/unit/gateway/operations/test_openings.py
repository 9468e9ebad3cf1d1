"""When a change that waits for its hour may be made next, under the real library: every edge of windows, calendars and zones, and where nobody can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml

from lockgate.contract.decision import Decision, Question
from lockgate.gateway.operations.openings import (
    MOST_ASKED,
    MOST_KNOWN,
    NONE_AHEAD,
    Lookout,
    next_opening,
    opens_at,
)
from lockgate.policy.bundle import PolicyBundle, library_with
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.replay import UNHURRIED
from lockgate.testing.policy_engine import example_input, example_plan

BASE: dict[str, Any] = {
    "version": 1,
    "roles": {"r": {"questions": ["apply"]}},
    "bindings": [{"subject": {"issuer": "https://issuer.test", "id": "*"}, "roles": ["r"]}],
    "regions": {"default": ["*"]},
    "approvals": {"approvers": ["r"], "standard": {"count": 1, "groups": [], "expires_in_seconds": 60}},
}
EVERY_DAY = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class Counting(EmbeddedEngine):
    """The engine, and how often it was asked."""

    asked = 0

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        self.asked += 1
        return await super().decide(question, document)


def policy(*windows: dict[str, Any], **more: Any) -> PolicyBundle:
    named = [
        {"name": f"w{n}", "targets": {"environments": ["dev", "prod", "production", "staging"]}, **window}
        for n, window in enumerate(windows)
    ]
    return library_with(yaml.safe_dump({**BASE, "windows": named, **more}), "data.yaml")


def window(days: str | list[str], begin: str, end: str, zone: str = "Europe/Berlin", **more: Any) -> dict[str, Any]:
    return {"days": [days] if isinstance(days, str) else days, "from": begin, "to": end, "zone": zone, **more}


async def opening(bundle: PolicyBundle, now: str, most: int = MOST_ASKED) -> str | None:
    """What is found at `now`, which must be a moment at which it waits."""
    engine = Counting(bundle, UNHURRIED)
    try:
        document = example_input(Question.APPLY, plan=example_plan(), context={"now": now, "freeze": False})
        decision = await engine.decide(Question.APPLY, document)
        assert decision.waitable, decision.violations
        found = await next_opening(engine, document, decision)
        assert found == await next_opening(engine, document, decision), "the same input, the same moment"
        assert engine.asked <= 1 + 2 * most
        return found
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("windows", "now", "opens"),
    [
        ([window("monday", "09:00", "17:00")], "2027-01-15T08:00:00Z", "2027-01-18T08:00:00Z"),
        ([window("monday", "09:00", "17:00")], "2027-01-18T16:00:00Z", "2027-01-25T08:00:00Z"),
        ([window("monday", "09:00", "17:00"), window("sunday", "00:00", "01:00", "UTC")], "2027-01-15T08:00:00Z", "2027-01-17T00:00:00Z"),
        # A window over midnight.
        ([window("friday", "22:00", "04:00", "UTC")], "2027-01-16T04:00:00Z", "2027-01-22T22:00:00Z"),
        # An hour that summer time skips: it opens when the gap ends. One that comes twice opens twice.
        ([window("sunday", "02:30", "05:00")], "2027-03-27T20:00:00Z", "2027-03-28T01:00:00Z"),
        ([window("sunday", "02:15", "02:45")], "2027-10-30T20:00:00Z", "2027-10-31T00:15:00Z"),
        ([window("sunday", "02:15", "02:45")], "2027-10-31T00:50:00Z", "2027-10-31T01:15:00Z"),
        # Zones of odd offsets.
        ([window("saturday", "10:00", "11:00", "Asia/Kathmandu")], "2027-01-15T08:00:00Z", "2027-01-16T04:15:00Z"),
    ],
)  # fmt: skip
async def test_the_next_window_is_found_to_the_second(windows: list[dict[str, Any]], now: str, opens: str) -> None:
    assert await opening(policy(*windows), now) == opens


async def test_a_holiday_moves_it_on() -> None:
    calendars = {"holidays": {"zone": "Europe/Berlin", "dates": ["2027-01-18"]}}
    bundle = policy(window("monday", "09:00", "17:00", closed_on=["holidays"]), calendars=calendars)
    assert await opening(bundle, "2027-01-15T08:00:00Z") == "2027-01-25T08:00:00Z"


async def test_a_calendar_of_another_zone_opens_a_window_at_its_own_midnight() -> None:
    calendars = {"holidays": {"zone": "America/New_York", "dates": ["2027-01-17"]}}
    bundle = policy(window("monday", "00:00", "12:00", "UTC", closed_on=["holidays"]), calendars=calendars)
    assert await opening(bundle, "2027-01-17T20:00:00Z") == "2027-01-18T05:00:00Z"


async def test_a_freeze_period_and_a_window_must_both_let_it_through() -> None:
    freeze = {"name": "f", "from": "2027-01-01T00:00:00Z", "until": "2027-01-18T09:30:00Z", "reason": "two systems"}
    assert await opening(policy(freezes=[freeze]), "2027-01-15T08:00:00Z") == "2027-01-18T09:30:00Z"
    both = policy(window("monday", "09:00", "17:00"), freezes=[freeze])
    assert await opening(both, "2027-01-15T08:00:00Z") == "2027-01-18T09:30:00Z"


async def test_nothing_within_the_time_that_is_looked_ahead_is_told_as_that() -> None:
    freeze = {"name": "f", "from": "2027-01-01T00:00:00Z", "until": "2027-03-01T00:00:00Z", "reason": "a long one"}
    assert (
        await opening(policy(window(EVERY_DAY, "09:00", "17:00"), freezes=[freeze]), "2027-01-15T08:00:00Z")
        == NONE_AHEAD
    )


async def test_under_another_policy_or_a_closed_engine_nobody_can_tell() -> None:
    engine, other = (
        EmbeddedEngine(policy(window("monday", begin, "17:00")), UNHURRIED) for begin in ("09:00", "10:00")
    )
    document = example_input(
        Question.APPLY, plan=example_plan(), context={"now": "2027-01-15T08:00:00Z", "freeze": False}
    )
    decision = await engine.decide(Question.APPLY, document)
    assert await next_opening(other, document, decision) is None
    await engine.close()
    assert await next_opening(engine, document, decision) is None
    await other.close()


async def test_of_a_rule_that_only_bears_the_name_nobody_can_tell() -> None:
    engine = EmbeddedEngine(policy(window("monday", "09:00", "17:00")), UNHURRIED)
    document = example_input(
        Question.APPLY, plan=example_plan(), context={"now": "2027-01-15T08:00:00Z", "freeze": False}
    )
    decision = await engine.decide(Question.APPLY, document)
    for details in ({"windows": 7}, {"until": ["soon"]}, {"windows": [["w0"]]}):
        foreign = replace(decision, violations=tuple(replace(item, details=details) for item in decision.violations))
        assert await next_opening(engine, document, foreign) is None
    await engine.close()


async def found(lookout: Lookout, engine: Counting, now: str, operation: str = "op") -> tuple[str, int]:
    """What an operation is said to wait for at `now`, and how often the engine was asked about later moments for that."""
    document = example_input(Question.APPLY, plan=example_plan(), context={"now": now, "freeze": False})
    decision = await engine.decide(Question.APPLY, document)
    rule, before = decision.violations[0].rule, engine.asked
    return await lookout.reason(engine, operation, rule, (document, decision)), engine.asked - before


async def test_what_was_found_is_looked_for_again_once_it_has_passed_or_the_policy_is_another() -> None:
    lookout = Lookout()
    engine, other = (
        Counting(policy(window("monday", begin, "17:00", "UTC")), UNHURRIED) for begin in ("09:00", "10:00")
    )
    friday, tuesday = "2027-01-15T08:00:00Z", "2027-01-19T08:00:00Z"
    opens = "change_window:2027-01-18T09:00:00Z"
    said, asked = await found(lookout, engine, friday)
    assert (said, asked > 0) == (opens, True)
    assert await found(lookout, engine, "2027-01-18T08:59:59Z") == (opens, 0)
    assert await found(lookout, engine, friday, "another") == (opens, asked)
    said, asked = await found(lookout, other, friday)
    assert (said, asked > 0) == ("change_window:2027-01-18T10:00:00Z", True)
    said, asked = await found(lookout, other, tuesday)
    assert (said, asked > 0) == ("change_window:2027-01-25T10:00:00Z", True)
    await engine.close()
    await other.close()


async def test_that_none_was_found_is_looked_at_again_after_an_hour() -> None:
    freeze = {"name": "f", "from": "2027-01-01T00:00:00Z", "until": "2027-01-30T08:30:00Z", "reason": "a long one"}
    lookout, engine = Lookout(), Counting(policy(freezes=[freeze]), UNHURRIED)
    none = f"freeze_period:{NONE_AHEAD}"
    assert (await found(lookout, engine, "2027-01-15T08:00:00Z"))[0] == none
    assert await found(lookout, engine, "2027-01-15T08:59:59Z") == (none, 0)
    assert (await found(lookout, engine, "2027-01-15T09:00:00Z"))[0] == "freeze_period:2027-01-30T08:30:00Z"
    await engine.close()


async def test_a_lease_waits_only_so_long_for_it_and_then_nothing_is_claimed() -> None:
    """Each question takes 0.3 seconds here: after a second no further one is asked, and the hour that follows asks none."""
    engine = Counting(
        policy(*(window("monday", f"{hour:02}:00", f"{hour:02}:30", "UTC") for hour in range(9, 20))), UNHURRIED
    )
    lookout = Lookout(lambda: engine.asked * 300_000_000)
    freeze = "2027-01-15T08:00:00Z"
    assert await found(lookout, engine, freeze) == ("change_window", 4)
    assert await found(lookout, engine, "2027-01-15T08:59:59Z") == ("change_window", 0)
    await engine.close()


async def test_what_is_known_is_bounded_by_the_oldest() -> None:
    lookout, engine = Lookout(), Counting(policy(window("monday", "09:00", "17:00", "UTC")), UNHURRIED)
    now = "2027-01-15T08:00:00Z"
    document = example_input(Question.APPLY, plan=example_plan(), context={"now": now, "freeze": False})
    asked = document, await engine.decide(Question.APPLY, document)
    other = asked[0], replace(asked[1], revision="sha256:another")  # nobody can tell: nothing is asked for it
    await lookout.reason(engine, "first", "change_window", asked)
    for number in range(MOST_KNOWN - 1):
        await lookout.reason(engine, f"op-{number}", "change_window", other)
    assert (await found(lookout, engine, now, "first"))[1] == 0
    await lookout.reason(engine, "one more", "change_window", other)
    assert (await found(lookout, engine, now, "first"))[1] > 0
    await engine.close()


def test_agents_are_told_a_moment_and_no_other_text() -> None:
    moment = "2027-01-18T08:00:00Z"
    told = [f"change_window:{moment}", "change_window", f"change_window:{NONE_AHEAD}", f"lock:{moment}", None]
    assert [opens_at(text) for text in told] == [moment, None, None, None, None]
