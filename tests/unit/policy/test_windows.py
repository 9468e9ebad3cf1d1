"""Change windows at every edge of the clock, freezes and exceptions: against Python's own zones, and these against OPA's."""

import datetime as dt
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from lockgate.cli.show.decisions import explained_text
from lockgate.contract.decision import Decision, Question
from lockgate.contract.excepted import UsedException
from lockgate.policy.builtins import call_builtin
from lockgate.policy.bundle import LIBRARY, library_bundle, library_manifest
from lockgate.policy.compile import entrypoint
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.explaining import explain
from lockgate.policy.input import encode_input
from lockgate.policy.opa import run_opa
from lockgate.policy.parameters import read_parameters
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.replay import UNHURRIED, Recorded
from lockgate.policy.times import DAYS
from lockgate.policy.wasm import Bounds, PolicyInstance, PolicyModule
from lockgate.testing.policy_engine import example_input

ZONES = (
    "Europe/Berlin",
    "Europe/Dublin",  # standard time in summer
    "America/New_York",
    "America/Santiago",  # southern, at 24:00
    "America/Sao_Paulo",  # southern, midnight did not exist
    "Asia/Beirut",  # at 00:00
    "Asia/Kathmandu",  # 45 minutes, no summer time
    "Australia/Lord_Howe",  # half an hour, southern
    "Pacific/Apia",  # 30 December 2011 did not exist
    "Pacific/Chatham",  # 45 minutes and southern
    "Antarctica/Troll",  # two hours
)
FIRST, LAST = dt.date(2011, 1, 1), dt.date(2025, 1, 1)
AROUND = (-5400, -3600, -1801, -1800, -1, 0, 1, 1799, 1800, 3600, 5400)


def edges(name: str) -> list[int]:
    """Seconds since the epoch around every change of the zone's clocks, and noon of some days besides."""
    zone, found = ZoneInfo(name), []
    day = int(dt.datetime(FIRST.year, 1, 1, tzinfo=dt.UTC).timestamp())
    end = int(dt.datetime(LAST.year, 1, 1, tzinfo=dt.UTC).timestamp())
    while day < end:
        if offset(day, zone) != offset(day + 86400, zone):
            low, high = day, day + 86400
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle, zone) == offset(day, zone) else (low, middle)
            found += [high + seconds for seconds in AROUND]
        day += 86400
    return found or [int(dt.datetime(2024, month, 1, 12, tzinfo=dt.UTC).timestamp()) for month in range(1, 13)]


def offset(seconds: int, zone: ZoneInfo) -> dt.timedelta | None:
    return dt.datetime.fromtimestamp(seconds, zone).utcoffset()


EDGES = {name: edges(name) for name in ZONES}


def test_every_kind_of_edge_is_among_those_that_are_tried() -> None:
    assert sum(len(found) for found in EDGES.values()) > 2000
    jumps = {
        offset(at, ZoneInfo(name)) - offset(at - 1, ZoneInfo(name))  # type: ignore[operator]
        for name, found in EDGES.items()
        for at in found
    }
    assert {dt.timedelta(minutes=minutes) for minutes in (0, 30, -30, 60, -60, 120, -120, 1440)} <= jumps


@pytest.mark.opa
def test_opa_reads_the_clock_of_every_zone_as_we_do(opa: Path, tmp_path: Path) -> None:
    """A difference would be two engines of which one lets a change through."""
    asked = [[at * 10**9, name] for name, found in EDGES.items() for at in found]
    (tmp_path / "input.json").write_text(json.dumps(asked))
    query = "[[time.clock(at), time.date(at), time.weekday(at)] | some at in input]"
    said = json.loads(run_opa(opa, ["eval", "--format", "json", "--input", str(tmp_path / "input.json"), query]))
    names = ("time.clock", "time.date", "time.weekday")
    ours = [[call_builtin(name, [at]) for name in names] for at in asked]
    assert said["result"][0]["expressions"][0]["value"] == ours


@pytest.fixture(scope="module")
def module() -> Iterator[PolicyModule]:
    module = PolicyModule(LIBRARY.joinpath("policy.wasm").read_bytes())
    yield module
    module.close()


BASE: dict[str, Any] = {
    "version": 1,
    "roles": {"r": {"questions": ["apply", "heal", "plan", "request"]}},
    "bindings": [{"subject": {"issuer": "https://issuer.test", "id": "*"}, "roles": ["r"]}],
    "regions": {"default": ["*"]},
    "approvals": {"approvers": ["r"], "standard": {"count": 1, "groups": [], "expires_in_seconds": 60}},
}


class Deployment:
    """The compiled library under some data; one agent of it asks to apply."""

    def __init__(self, module: PolicyModule, **data: Any) -> None:
        parameters = read_parameters(json.dumps(BASE | data), "data.json")
        self._instance = PolicyInstance(
            module, json.dumps({"lockgate": {"parameters": parameters}}).encode(), Bounds(seconds=5)
        )

    def rules(self, now: str, question: Question = Question.APPLY, **changes: Any) -> list[str]:
        """The rules that say no at `now`."""
        return [violation["rule"] for violation in self.violations(now, question, **changes)]

    def violations(self, now: str, question: Question = Question.APPLY, **changes: Any) -> list[dict[str, Any]]:
        """What is violated at `now` (RFC 3339, UTC)."""
        document = example_input(question, context={"now": now, "freeze": False}, **changes)
        return self._instance.evaluate(entrypoint(question), encode_input(document))["violations"]


def rfc3339(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


clocks = st.tuples(st.integers(0, 23), st.sampled_from([0, 15, 30, 45, 59])).map(lambda at: f"{at[0]:02}:{at[1]:02}")


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    start = draw(clocks | st.just("00:00"))
    return {
        "name": "w",
        "targets": {"names": ["*"]},
        "zone": draw(st.sampled_from(ZONES)),
        "days": draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True)),
        "from": start,
        "to": draw((clocks | st.sampled_from(["00:00", "24:00"])).filter(lambda end: end != start)),
    }


def open_by_python(window: dict[str, Any], holidays: set[dt.date], calendar_zone: str, at: int) -> bool:
    """Written from the other side: each day's opening as an interval on the wall, and whether now lies in it."""
    wall = dt.datetime.fromtimestamp(at, ZoneInfo(window["zone"])).replace(tzinfo=None)
    today = dt.datetime.fromtimestamp(at, ZoneInfo(calendar_zone)).date()
    for back in (0, 1):
        day = wall.date() - dt.timedelta(days=back)
        start = on_the_wall(day, window["from"])
        end = on_the_wall(day, window["to"])
        if end < start:
            end += dt.timedelta(days=1)
        closed = any(today - dt.timedelta(days=late) in holidays for late in range(back + 1))
        if DAYS[day.weekday()] in window["days"] and start <= wall < end and not closed:
            return True
    return False


def on_the_wall(day: dt.date, clock: str) -> dt.datetime:
    hours, minutes = (int(part) for part in clock.split(":"))
    return dt.datetime.combine(day, dt.time()) + dt.timedelta(hours=hours, minutes=minutes)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(windows(), st.sampled_from(ZONES), st.data())
def test_a_window_is_open_exactly_when_the_clock_on_the_wall_says_so(
    module: PolicyModule, window: dict[str, Any], calendar_zone: str, data: st.DataObject
) -> None:
    moments = data.draw(st.lists(st.sampled_from(EDGES[window["zone"]]), min_size=25, max_size=25))
    days = [dt.datetime.fromtimestamp(at, dt.UTC).date() for at in moments[:3]]
    holidays = {day + dt.timedelta(days=1) for day in days} if data.draw(st.booleans()) else set[dt.date]()
    if holidays:
        window = {**window, "closed_on": ["c"]}
    calendars = {"c": {"zone": calendar_zone, "dates": sorted({day.isoformat() for day in holidays or days})}}
    deployment = Deployment(module, windows=[window], calendars=calendars)
    for at in moments:
        expected = open_by_python(window, holidays, calendar_zone, at)
        assert (deployment.rules(rfc3339(at)) == []) == expected, (window, holidays, rfc3339(at))


NIGHT = {"name": "n", "targets": {"names": ["*"]}, "zone": "Europe/Berlin", "days": list(DAYS)}


@pytest.mark.parametrize(
    ("zone", "start", "end", "moments"),
    [
        # 02:00 to 03:00 is skipped on 29 March 2026: a window in it does not open that day, one that goes on opens late.
        ("Europe/Berlin", "02:15", "02:45", {"2026-03-29T00:59:59Z": False, "2026-03-29T01:00:00Z": False}),
        ("Europe/Berlin", "02:15", "03:30", {"2026-03-29T00:59:59Z": False, "2026-03-29T01:00:00Z": True}),
        # 02:00 to 03:00 comes twice on 25 October 2026: open both times, and not between.
        (
            "Europe/Berlin",
            "02:00",
            "02:30",
            {"2026-10-25T00:00:00Z": True, "2026-10-25T00:30:00Z": False, "2026-10-25T01:15:00Z": True},
        ),
        # Half an hour comes twice on 5 April 2026 on Lord Howe, from 02:00 back to 01:30.
        (
            "Australia/Lord_Howe",
            "01:30",
            "02:00",
            {"2026-04-04T14:45:00Z": True, "2026-04-04T15:00:00Z": True, "2026-04-04T15:30:00Z": False},
        ),
        # Santiago goes from 24:00 to 23:00 on 4 April 2026, and from 24:00 to 01:00 on 5 September.
        ("America/Santiago", "23:00", "24:00", {"2026-04-05T02:59:59Z": True, "2026-04-05T03:30:00Z": True}),
        ("America/Santiago", "00:00", "00:59", {"2026-09-06T03:59:59Z": False, "2026-09-06T04:00:00Z": False}),
    ],
)
def test_hours_that_come_never_or_twice(
    module: PolicyModule, zone: str, start: str, end: str, moments: dict[str, bool]
) -> None:
    deployment = Deployment(module, windows=[{**NIGHT, "zone": zone, "from": start, "to": end}])
    assert {now: deployment.rules(now) == [] for now in moments} == moments


def test_a_holiday_closes_what_opens_on_it_and_what_was_open_before_it(module: PolicyModule) -> None:
    calendars = {"christmas": {"zone": "Europe/Berlin", "dates": ["2026-12-25"]}}
    night = {**NIGHT, "from": "22:00", "to": "04:00", "closed_on": ["christmas"]}
    deployment = Deployment(module, windows=[night], calendars=calendars)
    opened = {
        "2026-12-24T22:59:59Z": True,  # Christmas Eve, 23:59:59 in Berlin
        "2026-12-24T23:00:00Z": False,  # the holiday begins
        "2026-12-25T22:00:00Z": False,  # 23:00 on the holiday
        "2026-12-26T01:00:00Z": False,  # the night that would have begun on it
        "2026-12-26T21:00:00Z": True,
    }
    assert {now: deployment.rules(now) == [] for now in opened} == opened


FREEZE = {
    "name": "year end",
    "from": "2026-12-18T18:00:00+01:00",
    "until": "2027-01-04T06:00:00+01:00",
    "reason": "nobody is there",
}


def test_a_freeze_period_holds_from_its_first_second_to_the_one_before_its_end(module: PolicyModule) -> None:
    deployment = Deployment(module, freezes=[FREEZE])
    assert deployment.rules("2026-12-18T16:59:59Z") == []
    assert deployment.rules("2026-12-18T17:00:00Z") == ["freeze_period"]
    assert deployment.rules("2027-01-04T04:59:59.999999999Z") == ["freeze_period"]
    assert deployment.rules("2027-01-04T05:00:00Z") == []
    details = deployment.violations("2026-12-24T00:00:00Z")[0]["details"]
    assert details == {"waitable": True, "name": "year end", "until": "2027-01-04T05:00:00Z"}


def test_a_freeze_period_holds_applies_and_heals_and_neither_plans_nor_reads(module: PolicyModule) -> None:
    deployment, now = Deployment(module, freezes=[FREEZE]), "2026-12-24T00:00:00Z"
    assert deployment.rules(now, Question.HEAL) == ["freeze_period"]
    assert deployment.rules(now, Question.REQUEST) == []
    assert deployment.rules(now, Question.PLAN) == []
    reading = {"name": "look", "driver": "runbook", "effect": "read", "risk": "low"}
    assert deployment.rules(now, action=reading) == []


def test_a_freeze_period_of_some_targets_leaves_the_others(module: PolicyModule) -> None:
    deployment = Deployment(module, freezes=[{**FREEZE, "targets": {"environments": ["production"]}}])
    assert deployment.rules("2026-12-24T00:00:00Z") == []


NAMED: dict[str, Any] = {
    "name": "CHG-7",
    "rules": ["freeze_period"],
    "subjects": [{"issuer": "https://issuer.test", "id": "agent-1", "kind": "agent"}],
    "actions": ["deploy"],
    "targets": {"names": ["web"]},
    "until": "2026-12-24T12:00:00Z",
    "reason": "the shop sells on",
}


@pytest.mark.parametrize(
    ("now", "changes", "excepted"),
    [
        ("2026-12-24T11:59:59Z", {}, True),
        ("2026-12-24T12:00:00Z", {}, False),  # expired: as if it were not there
        ("2026-12-24T11:00:00Z", {"rules": ["change_window"]}, False),
        ("2026-12-24T11:00:00Z", {"rules": ["change_window", "freeze_period"]}, True),
        ("2026-12-24T11:00:00Z", {"subjects": [{"issuer": "https://issuer.test", "id": "agent-1"}]}, True),
        ("2026-12-24T11:00:00Z", {"subjects": [{"issuer": "https://other.test", "id": "agent-1"}]}, False),
        (
            "2026-12-24T11:00:00Z",
            {"subjects": [{"issuer": "https://issuer.test", "id": "agent-1", "kind": "human"}]},
            False,
        ),
        ("2026-12-24T11:00:00Z", {"actions": ["dep*"]}, True),
        ("2026-12-24T11:00:00Z", {"actions": ["destroy"]}, False),
        ("2026-12-24T11:00:00Z", {"targets": {"names": ["db"]}}, False),
    ],
)
def test_an_exception_is_for_whom_and_what_it_names_until_its_moment(
    module: PolicyModule, now: str, changes: dict[str, Any], excepted: bool
) -> None:
    deployment = Deployment(module, freezes=[FREEZE], exceptions=[{**NAMED, **changes}])
    assert deployment.rules(now) == ([] if excepted else ["freeze_period"])


def test_an_exception_opens_a_closed_window_and_never_an_administrators_freeze(module: PolicyModule) -> None:
    never = {**NIGHT, "days": ["monday"], "from": "03:00", "to": "03:01"}
    both = {**NAMED, "rules": ["change_window", "freeze_period"]}
    now = "2026-12-24T11:00:00Z"
    assert Deployment(module, windows=[never]).rules(now) == ["change_window"]
    deployment = Deployment(module, windows=[never], exceptions=[both])
    assert deployment.rules(now) == []
    document = example_input(Question.APPLY, context={"now": now, "freeze": True})
    answer = deployment._instance.evaluate(entrypoint(Question.APPLY), encode_input(document))
    assert [violation["rule"] for violation in answer["violations"]] == ["freeze"]


async def test_a_decision_names_the_exception_without_which_it_would_have_been_held() -> None:
    text = json.dumps({**BASE, "freezes": [FREEZE], "exceptions": [NAMED]})
    bundle = library_bundle(
        LIBRARY.joinpath("policy.wasm").read_bytes(), library_manifest(), read_parameters(text, "data.json")
    )
    engine = EmbeddedEngine(bundle, UNHURRIED)
    context = {"now": "2026-12-24T11:00:00Z", "freeze": False}
    asked = example_input(Question.APPLY, context=context)
    decision = await engine.decide(Question.APPLY, asked)
    later = {**context, "now": "2026-11-24T11:00:00Z"}
    unused = await engine.decide(Question.APPLY, example_input(Question.APPLY, context=later))
    document = (await explain(engine, Recorded(decision, encode_input(asked)))).document()
    await engine.close()
    shown = StringIO()
    Console(width=200, file=shown).print(
        explained_text({**document, "at": 0, "operation": None, "hidden": [], "masked": []})
    )
    assert "CHG-7: without it freeze_period had said no; it ends at 2026-12-24T12:00:00Z" in shown.getvalue()
    assert decision.exceptions == (UsedException("freeze_period", "CHG-7", "2026-12-24T12:00:00Z"),)
    assert Decision.from_document(decision.to_document()) == decision
    assert (unused.allow, unused.exceptions, "exceptions" in unused.to_document()) == (True, (), False)


GOOD = """version: 1
roles: {r: {}}
bindings: []
regions: {}
approvals: {approvers: [r], standard: {count: 1, groups: [r], expires_in_seconds: 60}}
calendars:
  c: {zone: Europe/Berlin, dates: [2026-12-25]}
windows:
  - {name: w, targets: {names: [web]}, zone: UTC, days: [monday], from: 08:00, to: 09:00, closed_on: [c]}
freezes:
  - {name: f, from: 2026-12-18T18:00:00+01:00, until: 2027-01-04T06:00:00Z, reason: r}
exceptions:
  - {name: e, rules: [freeze_period], targets: {names: [web]}, until: 2026-12-24T12:00:00Z, reason: r}
"""


def test_times_are_derived_as_rego_compares_them() -> None:
    derived = read_parameters(GOOD, "data.yaml")
    assert derived["freezes"][0]["from"] == "2026-12-18T17:00:00"
    closed_on = derived["windows"][0]["closed_on"]
    assert closed_on == [{"zone": "Europe/Berlin", "dates": {"20261225": True}, "dates_after": {"20261226": True}}]


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("{zone: Europe/Berlin", "{zone: Europe/Atlantis", 7, "calendars.c.zone"),
        ("[2026-12-25]", "[2026-02-30]", 7, "calendars.c.dates[0]"),
        ("[2026-12-25]", "[25.12.2026]", 7, "calendars.c.dates[0]"),
        ("[2026-12-25]", "[9999-12-31]", 7, "calendars.c.dates[0]"),
        ("[2026-12-25]", "[]", 7, "calendars.c.dates"),
        ("closed_on: [c]", "closed_on: [d]", 9, "windows[0].closed_on[0]"),
        ("zone: UTC", "zone: CEST2", 9, "windows[0].zone"),
        ("from: 08:00", "from: 09:00", 9, "windows[0].to"),
        ("2027-01-04T06:00:00Z", "2026-12-18T17:00:00Z", 11, "freezes[0].until"),
        ("2027-01-04T06:00:00Z", "2027-01-04T06:00:00", 11, "freezes[0].until"),
        ("2027-01-04T06:00:00Z", "2027-01-04T24:00:01Z", 11, "freezes[0].until"),
        ("2027-01-04T06:00:00Z", "0001-01-01T00:00:00+05:00", 11, "freezes[0].until"),
        (", reason: r}\nexceptions", "}\nexceptions", 11, "freezes[0]"),
        ("2026-12-24T12:00:00Z", "2026-02-30T12:00:00Z", 13, "exceptions[0].until"),
        ("2026-12-24T12:00:00Z", "next week", 13, "exceptions[0].until"),
        ("rules: [freeze_period]", "rules: [freeze]", 13, "exceptions[0].rules[0]"),
        ("targets: {names: [web]}, until", "until", 13, "exceptions[0]"),  # for nobody and nothing in particular
        (", until: 2026-12-24T12:00:00Z", "", 13, "exceptions[0]"),
    ],
)
def test_times_that_mean_nothing_are_refused_with_their_line(old: str, new: str, line: int, field: str) -> None:
    assert old in GOOD
    with pytest.raises(PolicyLoadError) as refused:
        read_parameters(GOOD.replace(old, new, 1), "data.yaml")
    assert (refused.value.field, refused.value.line) == (field, line), refused.value
