"""Which recorded decisions would be otherwise under another policy: reads them page by page and counts what changes. It decides for nobody, and writes nothing.

A decision is judged on the very input it was made on. What cannot be judged honestly is counted apart, with the reason: inputs that are no longer
kept, that are masked in part (policy saw more then), that are damaged, of another version, or that lack what the other policy wants to be told.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from lockgate.contract.decision import Decision, Question
from lockgate.gateway.operations.inputs import InputDamaged
from lockgate.gateway.operations.model import DecisionRecord
from lockgate.gateway.operations.records import recorded
from lockgate.gateway.store.port import Decisions, GetBundle, Store
from lockgate.policy.comparison import DIFFERENCES, GRAVITY, Change, Compared, answer_of, compare, lacking
from lockgate.policy.keeping import unpacked
from lockgate.policy.needs import Needs
from lockgate.policy.port import PolicyEngine, PolicyLoadError
from lockgate.policy.replay import Recorded, read_input
from lockgate.policy.schemas import DocumentRefused

REQUESTS: Final = (Question.REQUEST, Question.PLAN, Question.APPLY, Question.HEAL)
"""The questions that are asked for a request; all others are about what people do with it."""
MAX_KEYS: Final = 500
MAX_SHOWN: Final = 100
MAX_NAMED: Final = 1_000
MAX_OPERATIONS: Final = 200_000
REMEMBERED: Final = 4_096
"""Distinct inputs whose answer is kept, so that the same is not asked twice."""
MAX_REVISIONS: Final = 64
OTHER: Final = "(other)"


@dataclass(frozen=True, slots=True)
class Span:
    """Which decisions are judged: made from `since` up to `until` (Unix ms), on these questions; of `tenant` (None: all)."""

    since: int
    until: int
    questions: tuple[Question, ...] = REQUESTS
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class _About:
    """Whom and what a decision was about."""

    agent: str = ""
    action: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """One decision with what the other policy makes of it; `compared` is None where nothing could be compared, and `why` says why."""

    record: DecisionRecord
    change: Change
    about: _About
    compared: Compared | None = None
    why: str = ""


@dataclass(slots=True)
class _Breakdown:
    """Changes by some key, at most MAX_KEYS of them."""

    counts: dict[str, Counter[Change]] = field(default_factory=dict)

    def add(self, key: str, change: Change) -> None:
        if key not in self.counts and len(self.counts) >= MAX_KEYS:
            key = OTHER
        self.counts.setdefault(key, Counter())[change] += 1

    def rows(self, name: str) -> list[dict[str, Any]]:
        order = sorted(self.counts.items(), key=lambda item: (-item[1].total(), item[0]))[:MAX_SHOWN]
        return [
            {name: key, "total": counts.total(), "changes": {change.value: n for change, n in counts.items()}}
            for key, counts in order
        ]


@dataclass(slots=True)
class Impact:
    """What changes, in bounded memory: counts whole, at most MAX_NAMED differences by name, the gravest first."""

    span: Span
    revision: str
    judged: int = 0
    distinct: int = 0
    cut: bool = False
    _changes: Counter[Change] = field(default_factory=Counter)
    _answers: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    _unknown: Counter[str] = field(default_factory=Counter)
    _by: dict[str, _Breakdown] = field(default_factory=dict)
    _operations: dict[str, Change] = field(default_factory=dict)
    _named: dict[Change, dict[tuple[str, ...], dict[str, Any]]] = field(default_factory=dict)

    def add(self, item: Judged) -> None:
        """Count one decision."""
        self.judged += 1
        self._changes[item.change] += 1
        self._operation(item)
        if item.compared is not None and item.change is not Change.UNKNOWN:
            for counts, decision in zip(self._answers, (item.compared.before, item.compared.after), strict=True):
                counts[answer_of(decision).value] += 1
        if item.change is Change.UNKNOWN:
            self._unknown[item.why if item.why in self._unknown or len(self._unknown) < MAX_KEYS else OTHER] += 1
        if item.change in DIFFERENCES:
            self._difference(item)

    def _operation(self, item: Judged) -> None:
        name = item.record.operation
        if name is None:
            return
        if name not in self._operations and len(self._operations) >= MAX_OPERATIONS:
            self.cut = True
            return
        known = self._operations.get(name, Change.SAME)
        self._operations[name] = min(known, item.change, key=GRAVITY.__getitem__)

    def _difference(self, item: Judged) -> None:
        about, rules = item.about, item.compared.rules if item.compared is not None else ()
        keys: dict[str, Iterable[str]] = {
            "question": (item.record.question,),
            "rule": rules,
            "action": (about.action,),
            "target": (about.target,),
            "agent": (about.agent,),
        }
        for name, values in keys.items():
            for value in values:
                self._by.setdefault(name, _Breakdown()).add(value, item.change)
        named = self._named.setdefault(item.change, {})
        # A request is decided anew at each lease: the same said of the same operation is one row.
        key = (item.record.operation or item.record.id, item.record.question, *rules)
        if key in named:
            named[key]["count"] += 1
        elif len(named) < MAX_NAMED:
            named[key] = _named(item, rules)

    @property
    def differs(self) -> bool:
        """Whether anything would be otherwise."""
        return any(self._changes[change] for change in DIFFERENCES)

    @property
    def denies(self) -> bool:
        """Whether anything that was not denied would be."""
        return self._changes[Change.WOULD_DENY] > 0

    @property
    def known(self) -> int:
        """How many decisions could be judged."""
        return self.judged - self._changes[Change.UNKNOWN]

    def document(self) -> dict[str, Any]:
        """Everything as JSON, the gravest first."""
        gravest = Counter(self._operations.values())
        named = [one for change in Change for one in self._named.get(change, {}).values()][:MAX_NAMED]
        before, after = self._answers
        return {
            "since": _rfc3339(self.span.since),
            "until": _rfc3339(self.span.until),
            "revision": self.revision,
            "decisions": self.judged,
            "distinct_inputs": self.distinct,
            "operations": len(self._operations),
            "cut": self.cut,
            "changes": _by_name(self._changes),
            "operations_by_change": _by_name(gravest),
            "before": dict(before),
            "after": dict(after),
            "unknown": [{"why": why, "count": count} for why, count in self._unknown.most_common(MAX_SHOWN)],
            **{f"{name}s": found.rows(name) for name, found in self._breakdowns().items()},
            "differences": named,
            "differences_left_out": sum(self._changes[change] for change in DIFFERENCES)
            - sum(one["count"] for one in named),
        }

    def _breakdowns(self) -> dict[str, _Breakdown]:
        names = ("question", "rule", "action", "target", "agent")
        return {name: self._by.get(name, _Breakdown()) for name in names}


class _Judge:
    """Asks one engine about recorded inputs, the same input once."""

    def __init__(self, engine: PolicyEngine, store: Store) -> None:
        self._engine, self._store = engine, store
        self._told: OrderedDict[str, Needs | None] = OrderedDict()
        self._needs = engine.needs
        self._answers: OrderedDict[tuple[str, str, str], tuple[Decision | None, _About, str]] = OrderedDict()
        self.distinct = 0

    async def judge(self, record: DecisionRecord) -> Judged:
        """Never raises for what is recorded."""
        try:
            kept = recorded(record)
        except (InputDamaged, ValueError) as error:
            return Judged(record, Change.UNKNOWN, _About(), why=f"damaged: {error}")
        if kept.input is None:
            return Judged(record, Change.UNKNOWN, _About(), why="its input is no longer kept")
        if kept.masked:
            return Judged(record, Change.UNKNOWN, _About(), why=f"masked: {', '.join(kept.masked)}")
        after, about, why = await self._answer(kept)
        if after is None:
            return Judged(record, Change.UNKNOWN, about, why=why)
        compared = compare(kept.decision, after)
        return Judged(record, compared.change, about, compared, compared.why)

    async def _answer(self, kept: Recorded) -> tuple[Decision | None, _About, str]:
        # What the policy of then wanted to be told matters where budgets are compared.
        revision = kept.decision.revision if self._needs.budgets else ""
        key = (kept.decision.question.value, kept.decision.input_sha256, revision)
        found = self._answers.get(key)
        if found is not None:
            self._answers.move_to_end(key)
            return found
        try:
            document = read_input(kept)
        except DocumentRefused as refused:
            return None, _About(), f"damaged: {refused}"
        self.distinct += 1
        found = await self._ask(kept, document)
        self._answers[key] = found
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return found

    async def _ask(self, kept: Recorded, document: dict[str, Any]) -> tuple[Decision | None, _About, str]:
        about = _about(document)
        missing = lacking(self._needs, document, await self._needs_of(kept.decision.revision))
        if missing:
            return None, about, missing
        return await self._engine.decide(kept.decision.question, document), about, ""

    async def _needs_of(self, revision: str) -> Needs | None:
        """What the policy of then wanted to be told; None when it is not kept. Looked up only where it matters."""
        if not self._needs.budgets:
            return None
        if revision not in self._told:
            packed = await self._store.read(GetBundle(revision))
            try:
                self._told[revision] = None if packed is None else unpacked(packed, revision).needs
            except PolicyLoadError:
                self._told[revision] = None
            if len(self._told) > MAX_REVISIONS:
                self._told.popitem(last=False)
        return self._told[revision]


async def measure(store: Store, engine: PolicyEngine, span: Span, progress: Callable[[int], None]) -> Impact:
    """Judge every decision of the span under `engine`'s policy, oldest first; `progress` hears how many are done. Raises StoreError."""
    found, judge = Impact(span, engine.revision), _Judge(engine, store)
    questions = tuple(question.value for question in span.questions)
    after: str | None = None
    while page := await store.read(Decisions(span.since, span.until, span.tenant, questions=questions, after=after)):
        for record in page:
            found.add(await judge.judge(record))
        found.distinct, after = judge.distinct, page[-1].id
        progress(found.judged)
    return found


def _about(document: dict[str, Any]) -> _About:
    names = [(document.get(part) or {}).get(key, "") for part, key in _NAMES]
    return _About(*(str(name)[:256] for name in names))


_NAMES: Final = (("subject", "id"), ("action", "name"), ("target", "name"))


def _named(item: Judged, rules: tuple[str, ...]) -> dict[str, Any]:
    return {
        "operation": item.record.operation,
        "decision": item.record.id,
        "at": _rfc3339(item.record.at),
        "question": item.record.question,
        "change": item.change.value,
        "count": 1,
        "rules": list(rules[:20]),
        "action": item.about.action,
        "target": item.about.target,
        "agent": item.about.agent,
    }


def _by_name(counts: Counter[Change]) -> dict[str, int]:
    return {change.value: counts[change] for change in Change}


def _rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
