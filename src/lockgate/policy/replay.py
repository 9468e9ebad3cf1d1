"""Makes a recorded decision again on its recorded input and compares the answers; it must not call the same what it could not evaluate.

`replay` asks whatever engine it is given: under the policy that decided then, it must answer the same to the byte; under another policy the
differences are what that policy would change (ADR 32).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import orjson

from lockgate.contract.decision import ENGINE_FAULTS, Decision
from lockgate.policy.embedded import EngineSettings
from lockgate.policy.input import encode_input, input_sha256
from lockgate.policy.port import PolicyEngine
from lockgate.policy.schemas import DocumentRefused
from lockgate.policy.wasm import Bounds

_ANSWERED: Final = frozenset(
    f"lockgate.engine.{name}" for name in ("builtin", "undefined", "output", "obligation", "input")
)
NO_ANSWER: Final = ENGINE_FAULTS - _ANSWERED | {"lockgate.engine.input_size"}
"""Denials that are an engine's or a machine's trouble at that moment: no policy gave them, so no policy gives them again."""

UNHURRIED: Final = EngineSettings(
    loop=Bounds(memory_bytes=256 << 20, input_bytes=16 << 20, seconds=30.0),
    worker=Bounds(memory_bytes=256 << 20, input_bytes=16 << 20, seconds=30.0),
)
"""For an engine that only replays: nobody waits, and a slow machine must not look like another answer."""


_OF_THE_MOMENT: Final = frozenset({"version", "id", "revision", "engine", "input_sha256", "duration_us"})


class Verdict(StrEnum):
    """What a replay shows. `unknown` is never a difference: the reason says what was missing. `altered`: the audit log says that something else was decided."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    DAMAGED = "damaged"
    ALTERED = "altered"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as it was recorded. `input` is what was evaluated, less what stands at the JSON pointers `masked`; None: no longer kept."""

    decision: Decision
    input: bytes | None
    masked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replayed:
    """`old` and `new` are answer bytes (`answer_bytes`); `new` is None where nothing could be evaluated, and `why` says why.

    `differences` name a JSON pointer into the answer with what stood there and what stands there now.
    """

    decision: str
    verdict: Verdict
    old: bytes
    new: bytes | None
    differences: tuple[str, ...] = ()
    why: str = ""
    answer: Decision | None = None

    @property
    def same(self) -> bool:
        """Whether the new answer is known to be the old one, byte for byte."""
        return self.verdict is Verdict.SAME


def answer_bytes(decision: Decision) -> bytes:
    """What a decision says, as canonical bytes: question, allow, violations with their words, obligations, and whatever else it answers with.

    Not its id, engine, revision or time.
    """
    document = decision.to_document()
    answer = {name: value for name, value in document.items() if name not in _OF_THE_MOMENT}
    return orjson.dumps(answer, option=orjson.OPT_SORT_KEYS)


def read_input(recorded: Recorded) -> dict[str, Any]:
    """The policy input of a record. Raises DocumentRefused when it is no longer kept, is no policy input, or is not the one that was decided on."""
    if recorded.input is None:
        raise DocumentRefused("input", "is no longer kept")
    try:
        document = orjson.loads(recorded.input)
    except orjson.JSONDecodeError as error:
        raise DocumentRefused("input", f"is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise DocumentRefused("input", "is no JSON object")
    if not recorded.masked and input_sha256(encode_input(document)) != recorded.decision.input_sha256:
        raise DocumentRefused("input", "does not have the digest that the decision names")
    return document


async def replay(engine: PolicyEngine, recorded: Recorded) -> Replayed:
    """Decide again under `engine`'s policy. Never raises for what is recorded.

    A masked input is evaluated as it is kept: an equal answer is the same, another one is unknown, since policy saw more then.
    """
    was = recorded.decision
    untold = Replayed(was.id, Verdict.UNKNOWN, answer_bytes(was), None)
    if recorded.input is None:
        return replace(untold, why="its input is no longer kept")
    try:
        document = read_input(recorded)
    except DocumentRefused as refused:
        return replace(untold, verdict=Verdict.DAMAGED, why=str(refused))
    answer = await engine.decide(was.question, document)
    done = replace(untold, new=answer_bytes(answer), answer=answer)
    if trouble := _trouble(was):
        return replace(done, why=f"no policy answered then: {trouble}")
    if trouble := _trouble(answer):
        return replace(done, why=f"no policy answers now: {trouble}")
    if done.new == done.old:
        return replace(done, verdict=Verdict.SAME)
    found = differences(was, answer)
    if recorded.masked:
        return replace(done, differences=found, why=f"masked: {', '.join(recorded.masked)}")
    return replace(done, verdict=Verdict.DIFFERENT, differences=found)


def differences(old: Decision, new: Decision) -> tuple[str, ...]:
    """Where two answers differ, in the order of an answer; empty only for equal answer bytes."""
    found: list[str] = []
    if old.allow != new.allow:
        found.append(f"/allow: {_word(old)} then, {_word(new)} now")
    then = {_violation(item): item.rule for item in old.violations}
    now = {_violation(item): item.rule for item in new.violations}
    found += [f"/violations: {then[key]} then, not now" for key in sorted(then.keys() - now.keys())]
    found += [f"/violations: {now[key]} now, not then" for key in sorted(now.keys() - then.keys())]
    demanded, demands = old.obligations.to_document(), new.obligations.to_document()
    for name in sorted({*demanded, *demands}):
        if demanded.get(name) != demands.get(name):
            found.append(f"/obligations/{name}: {_said(demanded.get(name))} then, {_said(demands.get(name))} now")
    if not found and answer_bytes(old) != answer_bytes(new):
        before, after = orjson.loads(answer_bytes(old)), orjson.loads(answer_bytes(new))
        found += [f"/{name}: another" for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return tuple(found)


def _trouble(decision: Decision) -> str:
    return next((item.rule for item in decision.violations if item.rule in NO_ANSWER), "")


def _word(decision: Decision) -> str:
    return "allowed" if decision.allow else "denied"


def _violation(violation: Any) -> bytes:
    return orjson.dumps(violation.to_document(), option=orjson.OPT_SORT_KEYS)


def _said(value: Any) -> str:
    return "none" if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
