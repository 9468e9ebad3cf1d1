"""Says why a recorded decision came out as it did, by asking the policy that made it again with one thing changed; it must not guess.

The engine is the witness: an input path *made* a violation if the violation goes away when only that path changes; a change *cures* the decision
if the answer to the changed input is an allow. What no single change within the bound shows is said to be not found (ADR 32).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final

import orjson

from lockgate.contract.decision import ENGINE_FAULTS, Decision, Violation
from lockgate.policy.moves import (
    OTHER,
    Document,
    Known,
    Move,
    Path,
    granting_moves,
    inner_moves,
    later_moves,
    plain_moves,
    pointer,
    value_at,
    without_resources,
)
from lockgate.policy.port import PolicyEngine
from lockgate.policy.replay import NO_ANSWER, Recorded, Replayed, Verdict, read_input, replay

MAX_EVALUATIONS: Final = 600
MAX_CAUSES: Final = 12
MAX_CURES: Final = 8
MAX_NAMED: Final = 3
"""Resources of one violation that are looked into."""
_NOT_ACTS: Final = (("action",), ("approvals",))
"""What nobody changes to get a yes: another action is another question, and votes are given by people."""
_MAX_DEPTH: Final = 6
_MAX_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Cause:
    """An input path with its value (JSON, cut at 200 characters): with something else there, the rule does not say what it said."""

    pointer: str
    value: str
    instead: str


@dataclass(frozen=True, slots=True)
class Cure:
    """A single change after which the answer is an allow; `demands` are the obligations it would come with."""

    pointer: str
    instead: str
    demands: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuleSaid:
    """A rule that said no, in its own words, and what made it; no `causes`: no single change within the bound took it away."""

    rule: str
    title: str
    message: str
    fix: str
    severity: str
    why: str
    details: dict[str, Any]
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """`problem` says what kept the engine from being asked again. For an allow, `hangs_on` are the paths whose change denies it, with the rules."""

    decision: Decision
    rules: tuple[RuleSaid, ...]
    cures: tuple[Cure, ...] = ()
    hangs_on: tuple[tuple[Cause, tuple[str, ...]], ...] = ()
    evaluations: int = 0
    exhausted: bool = False
    problem: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "decision": self.decision.id,
            "question": self.decision.question.value,
            "allow": self.decision.allow,
            "revision": self.decision.revision,
            "rules": [
                {
                    "rule": rule.rule,
                    "title": rule.title,
                    "message": rule.message,
                    "fix": rule.fix,
                    "severity": rule.severity,
                    "why": rule.why,
                    "details": rule.details,
                    "made_by": [_cause(cause) for cause in rule.causes],
                }
                for rule in self.rules
            ],
            "would_pass": [
                {"pointer": cure.pointer, "instead": cure.instead, "demands": cure.demands} for cure in self.cures
            ],
            "hangs_on": [{**_cause(cause), "denied_by": list(rules)} for cause, rules in self.hangs_on],
            "obligations": self.decision.obligations.to_document(),
            "exceptions": [exception.to_document() for exception in self.decision.exceptions],
            "evaluations": self.evaluations,
            "exhausted": self.exhausted,
            "problem": self.problem or None,
        }


async def explain(engine: PolicyEngine | str, recorded: Recorded) -> Explained:
    """Why, by at most MAX_EVALUATIONS questions to `engine`, which decides under the policy of the record; a text says why there is none.

    Never raises for what is recorded.
    """
    decision = recorded.decision
    if isinstance(engine, str):
        return Explained(decision, _plain_rules(decision, {}), problem=engine)
    rules = _plain_rules(decision, engine.bundle.rules)
    base = await replay(engine, recorded)
    if problem := _unfit(base):
        return Explained(decision, rules, problem=problem)
    search = _Search(engine, read_input(recorded), decision)
    if decision.allow:
        hangs_on = await search.hangs_on()
        return Explained(decision, (), (), hangs_on, search.asked, search.exhausted)
    found = [await search.made(violation, rule) for violation, rule in zip(decision.violations, rules, strict=True)]
    cures = await search.cures()
    return Explained(decision, tuple(found), cures, (), search.asked, search.exhausted)


def _unfit(base: Replayed) -> str:
    if base.verdict is Verdict.SAME:
        return ""
    return base.why or f"the policy does not answer the same now: {'; '.join(base.differences)}"


def _plain_rules(decision: Decision, texts: Mapping[str, Mapping[str, Any]]) -> tuple[RuleSaid, ...]:
    return tuple(
        RuleSaid(
            item.rule,
            item.title,
            item.message,
            item.fix,
            str(texts.get(item.rule, {}).get("severity", "")),
            str(texts.get(item.rule, {}).get("why", "")),
            dict(item.details),
        )
        for item in decision.violations
    )


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A violation of the answer to `base`, in which its rule said no `count` times."""

    violation: Violation
    base: Document
    count: int

    def gone(self, answer: Decision) -> bool:
        """Whether the rule says no less often, and this no more."""
        left = [item for item in answer.violations if item.rule == self.violation.rule]
        return len(left) < self.count and not any(_alike(item, self.violation) for item in left)


@dataclass(slots=True)
class _Search:
    engine: PolicyEngine
    document: Document
    decision: Decision
    asked: int = 0
    exhausted: bool = False

    async def made(self, violation: Violation, said: RuleSaid) -> RuleSaid:
        """The rule with the paths that made it."""
        suspect = _Suspect(violation, self.document, _count(self.decision, violation.rule))
        causes: list[Cause] = []
        known = _known(self.engine, self.decision, self.document)
        for move in chain(plain_moves(self.document), granting_moves(self.document, known)):
            if len(causes) < MAX_CAUSES and await self._takes_away(suspect, move):
                causes += await self._narrowed(suspect, move)
        for address in _resources(violation, self.document)[:MAX_NAMED]:
            causes += await self._in_resource(address, violation)
        unique = {cause.pointer: cause for cause in reversed(causes)}
        ordered = sorted(unique.values(), key=lambda cause: cause.pointer)
        return replace(said, causes=tuple(ordered[:MAX_CAUSES]))

    async def cures(self) -> tuple[Cure, ...]:
        """Single changes that make the answer an allow; of times only the first."""
        found: list[Cure] = []
        for moves in self._curing():
            for move in moves:
                answer = await self._ask(self.document, move) if _is_act(move) else None
                if answer is not None and answer.allow:
                    found.append(Cure(pointer(move.at), move.said, answer.obligations.to_document()))
                    if move.at == ("context", "now"):
                        break
                if len(found) >= MAX_CURES:
                    return tuple(found)
        return tuple(found)

    def _curing(self) -> Iterator[Iterable[Move]]:
        named = [address for item in self.decision.violations for address in _resources(item, self.document)]
        dropped = without_resources(self.document, named) if named else None
        yield (dropped,) if dropped is not None else ()
        yield granting_moves(self.document, _known(self.engine, self.decision, self.document))
        yield plain_moves(self.document)
        yield later_moves(self.document) if any(item.waitable for item in self.decision.violations) else ()

    async def hangs_on(self) -> tuple[tuple[Cause, tuple[str, ...]], ...]:
        """Paths whose change alone denies what was allowed."""
        found: dict[str, tuple[Cause, tuple[str, ...]]] = {}
        for move in plain_moves(self.document):
            at = pointer(move.at)
            answer = await self._ask(self.document, move) if at not in found else None
            if answer is not None and not answer.allow:
                rules = tuple(item.rule for item in answer.violations)
                found[at] = (_told(self.document, move.at, move.said), rules)
        return tuple(found.values())[:MAX_CAUSES]

    async def _in_resource(self, address: str, violation: Violation) -> list[Cause]:
        """What in one resource's change made it, with the others that the rule names left out of the plan."""
        others = [item for item in _resources(violation, self.document) if item != address]
        left = without_resources(self.document, others) if others else None
        base = left.apply(self.document) if left is not None else self.document
        alone = await self._ask(self.document, left) if left is not None else self.decision
        here, there = _index(base, address), _index(self.document, address)
        dropped = without_resources(base, [address])
        if alone is None or here is None or there is None or dropped is None:
            return []
        suspect = _Suspect(violation, base, _count(alone, violation.rule))
        if not await self._takes_away(suspect, dropped):
            return []
        place: Path = ("plan", "resource_changes", there)
        found: list[Cause] = []
        for part in (("change", "after"), ("change", "before"), ("change",)):
            # Its actions are told only where no value is: without them there is no change at all.
            for move in (
                inner_moves(base, ("plan", "resource_changes", here, *part)) if not found or part != ("change",) else ()
            ):
                whole = part == ("change",) and move.at[-1] in ("after", "before")
                if not whole and await self._takes_away(suspect, move):
                    found += await self._narrowed(suspect, move)
        moved = [Cause(pointer((*place, *_below(cause.pointer))), cause.value, cause.instead) for cause in found]
        return moved or [_told(self.document, place, "a plan without it")]

    async def _narrowed(self, suspect: _Suspect, move: Move, depth: int = 0) -> list[Cause]:
        """The smallest places inside what took the violation away that take it away too; else the place itself."""
        found: list[Cause] = []
        inner = isinstance(value_at(suspect.base, move.at), Mapping | list) and move.at[0] in ("plan", "arguments")
        for smaller in inner_moves(suspect.base, move.at) if inner and depth < _MAX_DEPTH else ():
            if await self._takes_away(suspect, smaller):
                found += await self._narrowed(suspect, smaller, depth + 1)
        return found or [_told(suspect.base, move.at, move.said)]

    async def _takes_away(self, suspect: _Suspect, move: Move) -> bool:
        answer = await self._ask(suspect.base, move)
        return answer is not None and suspect.gone(answer)

    async def _ask(self, base: Document, move: Move) -> Decision | None:
        """The answer to the changed document; None when it is none (its schema refuses the change), or the bound is reached."""
        if self.asked >= MAX_EVALUATIONS:
            self.exhausted = True
            return None
        self.asked += 1
        answer = await self.engine.decide(self.decision.question, move.apply(base))
        if any(item.rule in ENGINE_FAULTS or item.rule in NO_ANSWER for item in answer.violations):
            return None
        return answer


def _is_act(move: Move) -> bool:
    """Whether somebody could do that to get a yes: a placeholder is nothing that anybody could ask for."""
    return move.at[:1] not in _NOT_ACTS and move.said != json.dumps(OTHER)


def _count(decision: Decision, rule: str) -> int:
    return sum(item.rule == rule for item in decision.violations)


def _alike(one: Violation, other: Violation) -> bool:
    return orjson.dumps(dict(one.details), option=orjson.OPT_SORT_KEYS) == orjson.dumps(
        dict(other.details), option=orjson.OPT_SORT_KEYS
    )


def _known(engine: PolicyEngine, decision: Decision, document: Document) -> Known:
    """From the data of the policy that decided; nothing where it has another form."""
    try:
        data = json.loads(engine.bundle.data)["lockgate"]["parameters"]
        grants, regions = data["grants"].get(decision.question.value, {}), data["regions"].get(document["tenant"], {})
        return Known(tuple(sorted(grants)), tuple(sorted({*regions} - {"*"})), _named(grants, "environment"))
    except (KeyError, TypeError, ValueError, AttributeError):
        return Known()


def _named(value: Any, field: str) -> tuple[str, ...]:
    """Every key of every map that stands under `field`."""
    found: set[str] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            found |= set(item[field]) if isinstance(item.get(field), Mapping) else set()
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return tuple(sorted(found))


def _resources(violation: Violation, document: Document) -> list[str]:
    """Addresses of the plan's changes that a rule's details name."""
    changes = value_at(document, ("plan", "resource_changes")) or []
    known = {change.get("address") for change in changes}
    found: list[str] = []
    stack: list[Any] = [violation.details]
    while stack:
        item = stack.pop()
        if isinstance(item, str) and item in known and item not in found:
            found.append(item)
        elif isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return sorted(found)


def _index(document: Document, address: str) -> int | None:
    changes = value_at(document, ("plan", "resource_changes")) or []
    return next((index for index, change in enumerate(changes) if change.get("address") == address), None)


def _below(text: str) -> tuple[str, ...]:
    """What of a pointer comes after /plan/resource_changes/N."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[4:])


def _told(document: Document, at: Path, instead: str) -> Cause:
    text = json.dumps(value_at(document, at), sort_keys=True, ensure_ascii=False)
    return Cause(pointer(at), text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…", instead)


def _cause(cause: Cause) -> dict[str, str]:
    return {"pointer": cause.pointer, "value": cause.value, "instead": cause.instead}
