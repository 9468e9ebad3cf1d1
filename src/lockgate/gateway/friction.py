"""Counts how much of what was asked was denied, by which rules, for whom and when; it must not judge an operation anew, nor keep one.

A *request* is one recorded operation. It was *denied* if it ended in `denied` by a rule, at whatever question. Not denials: what waits, what
still needs approval, what a person rejected, what expired or failed. Calls that became no operation (bad input, rate, identity) are no requests.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lockgate.gateway.operations.model import Reason
from lockgate.gateway.operations.states import State
from lockgate.gateway.store.asked import AskedOperation, AskedOperations
from lockgate.gateway.store.port import Store

OBJECTIVE: Final = 0.02
"""Denied requests stay below this share of all: more, and people work around the gate instead of through it."""
MAX_WINDOW_SECONDS: Final = 366 * 24 * 3600
MAX_COUNTED: Final = 500_000
MAX_KEYS: Final = 500
MAX_SHOWN: Final = 100
OTHER: Final = "(other)"
REJECTED: Final = "rejected"
"""The rule under which a person's rejection ends an operation: a person's word is no friction of the policy."""
_WAITING: Final = frozenset({State.QUEUED, State.LEASED, State.RUNNING, State.PENDING_APPROVAL, State.INDETERMINATE})


def denied_by_rule(state: str, rules: Collection[str]) -> bool:
    """Whether an operation in `state`, ended by `rules`, is a denied request."""
    return state == State.DENIED and bool(rules) and REJECTED not in rules


@dataclass(frozen=True, slots=True)
class Window:
    """Which requests are counted: recorded from `since` up to `until` (Unix ms), of `tenant` (None: all).

    `collapse`: who asks for the same again (action, target, arguments) is counted once, as the newest of these ended.
    """

    since: int
    until: int
    tenant: str | None = None
    collapse: bool = False


@dataclass(slots=True)
class _Tally:
    asked: Counter[str] = field(default_factory=Counter)
    denied: Counter[str] = field(default_factory=Counter)

    def add(self, key: str, denied: bool) -> None:
        """Count one request under `key`; past MAX_KEYS keys together under OTHER, so that nobody can make the list grow without an end."""
        key = key if key in self.asked or len(self.asked) < MAX_KEYS else OTHER
        self.asked[key] += 1
        self.denied[key] += denied

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Most denied first."""
        order = sorted(self.asked, key=lambda key: (-self.denied[key], -self.asked[key], key))[:MAX_SHOWN]
        return [{name: key, **_counts(self.asked[key], self.denied[key])} for key in order]


@dataclass(slots=True)
class Friction:
    """The counts of one window. Give it operations newest first."""

    window: Window
    asked: int = 0
    denied: int = 0
    rejected: int = 0
    waiting: int = 0
    cut: bool = False
    _rules: Counter[str] = field(default_factory=Counter)
    _texts: dict[str, Reason] = field(default_factory=dict)
    _actions: _Tally = field(default_factory=_Tally)
    _agents: _Tally = field(default_factory=_Tally)
    _days: _Tally = field(default_factory=_Tally)
    _seen: set[int] = field(default_factory=set)

    def add(self, operations: Iterable[AskedOperation]) -> int:
        """Count those of the window; how many of them there were, collapsed ones too."""
        inside = 0
        for operation in operations:
            if self.window.since <= operation.at < self.window.until:
                inside += 1
                if not self._is_repeated(operation):
                    self._count(operation)
        return inside

    def _is_repeated(self, operation: AskedOperation) -> bool:
        if not self.window.collapse:
            return False
        # 64 bits of each: half a million of the names themselves would be a hundred megabytes.
        request = hash((operation.principal, operation.request_sha256))
        if request in self._seen:
            return True
        self._seen.add(request)
        return False

    def _count(self, operation: AskedOperation) -> None:
        rules = {reason.rule: reason for reason in operation.reasons}
        denied = denied_by_rule(operation.state, rules)
        self.asked += 1
        self.denied += denied
        self.rejected += operation.state == State.DENIED and not denied
        self.waiting += operation.state in _WAITING
        self._actions.add(operation.action, denied)
        self._agents.add(operation.principal, denied)
        self._days.add(_day(operation.at), denied)
        for rule, reason in rules.items() if denied else ():
            known = rule if rule in self._texts or len(self._texts) < MAX_KEYS else OTHER
            self._rules[known] += 1
            # Newest first: a rule's words of today stand for those of last week.
            self._texts.setdefault(known, reason if known == rule else _OTHERS)

    def document(self) -> dict[str, Any]:
        """Everything as JSON; shares are of all requests, null where nothing was asked."""
        share = _share(self.denied, self.asked)
        return {
            "since": _rfc3339(self.window.since),
            "until": _rfc3339(self.window.until),
            "collapsed": self.window.collapse,
            "cut": self.cut,
            "asked": self.asked,
            "denied": self.denied,
            "rejected": self.rejected,
            "waiting": self.waiting,
            "share": share,
            "objective": {"below": OBJECTIVE, "met": None if share is None else share < OBJECTIVE},
            "rules": [self._rule(rule, count) for rule, count in self._ordered_rules()],
            "actions": self._actions.rows("action"),
            "agents": self._agents.rows("agent"),
            "days": self._every_day(),
        }

    def _ordered_rules(self) -> list[tuple[str, int]]:
        return sorted(self._rules.items(), key=lambda item: (-item[1], item[0]))[:MAX_SHOWN]

    def _rule(self, rule: str, count: int) -> dict[str, Any]:
        text = self._texts[rule]
        return {
            "rule": rule,
            "denied": count,
            "share": _share(count, self.asked),
            "title": text.title,
            "message": text.message,
            "fix": text.fix,
        }

    def _every_day(self) -> list[dict[str, Any]]:
        """Each day (UTC) of the window, also those on which nobody asked."""
        first = datetime.fromtimestamp(self.window.since / 1000, UTC).date()
        last = datetime.fromtimestamp(max(self.window.since, self.window.until - 1) / 1000, UTC).date()
        days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
        return [{"day": day, **_counts(self._days.asked[day], self._days.denied[day])} for day in days]


_OTHERS: Final = Reason(OTHER, "Further rules", f"Rules beyond the first {MAX_KEYS}.", "Look at a shorter time.")


async def measure(store: Store, window: Window) -> Friction:
    """Read the window page by page, newest first; at most MAX_COUNTED operations, then `cut` is true. Raises StoreError."""
    found = Friction(window)
    before: int | None = None
    read = 0
    while read < MAX_COUNTED:
        page = await store.read(AskedOperations(window.tenant, before))
        # Counting a page takes some milliseconds, which are not the loop's.
        inside = await asyncio.to_thread(found.add, page)
        if not page or (inside == 0 and page[0].at < window.since):
            return found
        read, before = read + len(page), page[-1].ordinal
    found.cut = bool(await store.read(AskedOperations(window.tenant, before, limit=1)))
    return found


def _counts(asked: int, denied: int) -> dict[str, Any]:
    return {"asked": asked, "denied": denied, "share": _share(denied, asked)}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()


def _rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
