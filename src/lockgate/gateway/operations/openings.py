"""When a change that waits for its hour may be made next: the policy that holds it is asked about later moments. It records nothing and lets nothing through.

What is found is a function of the decision's own time, input and policy. It looks ahead for a bounded time and asks a bounded number of times, for a bounded while; a policy
that is another one by then may say otherwise, and the decision of that moment is what counts.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lockgate.contract.decision import Decision
from lockgate.policy.builtins import zone
from lockgate.policy.port import PolicyEngine

RULES: Final = frozenset({"change_window", "freeze_period"})
"""The rules that only the clock ends, and whose end stands in policy data."""

AHEAD: Final = timedelta(days=15)
MOST_ASKED: Final = 48
NONE_AHEAD: Final = f"none found within {AHEAD.days} days"
AGAIN: Final = timedelta(hours=1)
"""After which it is looked again where no moment was found: the time that is looked ahead has moved on."""

LOOK_NS: Final = 10**9
MOST_KNOWN: Final = 4_096
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class Lookout:
    """What was found for each operation, and under which policy: runners poll, and each poll decides on it again.

    It lives with the process and is bounded; what was forgotten is looked for once more.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._found: OrderedDict[str, _Found] = OrderedDict()

    async def reason(
        self, engine: PolicyEngine, operation: str, rule: str, asked: tuple[Mapping[str, Any], Decision]
    ) -> str:
        """What an operation that `rule` holds waits for: the rule, and the moment at which it opens if that is known. `asked` are input and decision."""
        document, decision = asked
        now = document["context"]["now"]
        known = self._found.get(operation)
        if known is None or known.is_over(rule, decision.revision, now):
            found = await next_opening(engine, document, decision, self._clock_ns)
            known = _Found(rule, decision.revision, found, _later(now, AGAIN))
            self._found[operation] = known
            self._found.move_to_end(operation)
            if len(self._found) > MOST_KNOWN:
                self._found.popitem(last=False)
        return rule if known.moment is None else f"{rule}:{known.moment}"


@dataclass(frozen=True, slots=True)
class _Found:
    """`moment` is a time, NONE_AHEAD, or None: nobody could tell. The last two are believed until `again`."""

    rule: str
    revision: str
    moment: str | None
    again: str

    def is_over(self, rule: str, revision: str, now: str) -> bool:
        ends = self.again if self.moment in (None, NONE_AHEAD) else self.moment
        return (self.rule, self.revision) != (rule, revision) or ends <= now


async def next_opening(
    engine: PolicyEngine,
    document: Mapping[str, Any],
    decision: Decision,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> str | None:
    """The first moment (RFC 3339, UTC) at which `engine` no longer holds this input back by its hour; NONE_AHEAD; None: nobody can tell.

    `engine` must be of the revision that decided. Whatever else it would say then is not told: other rules that wait now may still do so.
    A lease waits for it: after LOOK_NS no further moment is asked about.
    """
    if engine.revision != decision.revision:
        return None
    held = {violation.rule for violation in decision.violations}
    try:
        moments = _moments(engine, document, decision)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # a rule of that name which is not the library's: its details say something else
    until = clock_ns() + LOOK_NS
    for moment in moments[:MOST_ASKED]:
        if clock_ns() >= until:
            return None
        later = {**document, "context": {**document["context"], "now": moment}}
        answer = await engine.decide(decision.question, later)
        rules = {violation.rule for violation in answer.violations}
        # An engine's own trouble is no opening, and no reason to ask it more.
        if any(rule.startswith("lockgate.engine.") for rule in rules - held):
            return None
        if rules <= held - RULES:
            return moment
    return NONE_AHEAD if len(moments) <= MOST_ASKED else None


def opens_at(waiting_for: str | None) -> str | None:
    """The moment that stands in an operation's `waiting_for`, if there is one."""
    kind, _, found = (waiting_for or "").partition(":")
    return found if kind in RULES and found and found != NONE_AHEAD else None


def _moments(engine: PolicyEngine, document: Mapping[str, Any], decision: Decision) -> list[str]:
    """Every moment at which something of the windows and periods that hold it begins or ends, in order."""
    now = datetime.strptime(document["context"]["now"], _TIME).replace(tzinfo=UTC)
    details = [violation.details for violation in decision.violations if violation.rule in RULES]
    names = {name for said in details for name in said.get("windows", ())}
    parameters = json.loads(engine.bundle.data)["lockgate"]["parameters"]
    windows = [window for window in parameters.get("windows", ()) if window["name"] in names]
    found = {said["until"] for said in details if "until" in said}
    found |= {freeze["until"] + "Z" for freeze in parameters.get("freezes", ())}
    found |= {_text(moment) for window in windows for moment in _edges(window, now)}
    return sorted(moment for moment in found if _text(now) < moment <= _text(now + AHEAD))


def _edges(window: Mapping[str, Any], now: datetime) -> Iterator[datetime]:
    """When it opens, and each midnight at which it, or a calendar it is closed on, has another day."""
    zones = {window["zone"], *(calendar["zone"] for calendar in window["closed_on"])}
    for day in range(-1, AHEAD.days + 2):
        yield from _at(window["zone"], now, day, window["from"])
        for name in zones:
            yield from _at(name, now, day, 0)


def _at(name: str, now: datetime, day: int, minutes: int) -> Iterable[datetime]:
    """That time of day on the clock on the wall: twice where a zone has it twice, at the end of the gap where it skips it."""
    try:
        place = zone(name)
    except ValueError:
        return ()  # no window opens in a zone that this machine does not have
    wall = (now.astimezone(place) + timedelta(days=day)).replace(hour=0, minute=0, second=0, tzinfo=None)
    wall += timedelta(minutes=minutes)
    both = [wall.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1)]
    if both[0].astimezone(place).replace(tzinfo=None) == wall:
        return both
    before, after = sorted(both)
    offset = before.astimezone(place).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        before, after = (middle, after) if middle.astimezone(place).utcoffset() == offset else (before, middle)
    return (after,)


def _later(now: str, by: timedelta) -> str:
    return _text(datetime.strptime(now, _TIME).replace(tzinfo=UTC) + by)


def _text(moment: datetime) -> str:
    return moment.strftime(_TIME)
