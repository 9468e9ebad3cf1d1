"""A shadow sees the very bytes, answers nobody, is dropped when busy, and takes nothing with it when it breaks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.policy.test_hostile_policy import BRIEF, GROW, LOOP, module

from lockgate.contract.decision import Decision, Obligations, Provenance, Question
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.comparison import Change, Compared
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.input import encode_input, input_sha256
from lockgate.policy.needs import NOTHING, Needs
from lockgate.policy.port import PolicyEngine
from lockgate.policy.shadow import Shadow
from lockgate.testing.policy_engine import example_input


class Engine:
    """Answers yes, and keeps the bytes it evaluated; `gate` holds it up, `raises` makes it break its promise."""

    name, revision = "spy", "sha256:spy"
    needs: Needs = NOTHING
    bundle = PolicyBundle(wasm=b"", data=b"{}")

    def __init__(self, *, held: bool = False, raises: bool = False) -> None:
        self.gate, self.raises = threading.Event(), raises
        self.seen: list[bytes] = []
        self.closed = False
        if not held:
            self.gate.set()

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        self.gate.wait(60)
        if self.raises:
            raise ZeroDivisionError("a secret")
        self.seen.append(encode_input(document))
        return Decision.of(question, (), Obligations(), Provenance("dec_s", "r", "spy", input_sha256(self.seen[-1])))

    async def close(self) -> None:
        self.closed = True


_ENGINE: type[PolicyEngine] = Engine


class Notes:
    """What a shadow noted, and a way to wait for it."""

    def __init__(self) -> None:
        self.found: list[Compared] = []
        self._more = threading.Condition()

    def __call__(self, compared: Compared, _: Mapping[str, Any]) -> None:
        with self._more:
            self.found.append(compared)
            self._more.notify_all()

    async def wait(self, count: int) -> list[Compared]:
        await asyncio.to_thread(self._wait, count)
        return self.found

    def _wait(self, count: int) -> None:
        with self._more:
            assert self._more.wait_for(lambda: len(self.found) >= count, 60), self.found


def real(question: Question = Question.REQUEST, id: str = "dec_1") -> tuple[Mapping[str, Any], Decision]:
    """A document and the decision a real engine made on it."""
    document = example_input(question)
    digest = input_sha256(encode_input(document))
    return document, Decision.of(question, (), Obligations(), Provenance(id, "real", "e", digest))


async def test_the_shadow_evaluates_the_very_bytes_that_were_decided_on() -> None:
    engine, notes = Engine(), Notes()
    shadow = Shadow(engine, notes)
    document, decision = real()
    assert shadow.offer(Question.REQUEST, document, decision, NOTHING)
    (compared,) = await notes.wait(1)
    assert engine.seen == [encode_input(document)]
    assert compared.change is Change.SAME
    assert compared.before is decision and compared.after.input_sha256 == decision.input_sha256
    await shadow.close()
    assert engine.closed


async def test_a_document_that_was_changed_meanwhile_is_no_comparison() -> None:
    engine, notes = Engine(held=True), Notes()
    shadow = Shadow(engine, notes)
    document, decision = real()
    document = dict(document)
    shadow.offer(Question.REQUEST, document, decision, NOTHING)
    document["reason"] = "another reason"
    engine.gate.set()
    (compared,) = await notes.wait(1)
    assert (compared.change, compared.why) == (Change.UNKNOWN, "the two did not see the same input")
    await shadow.close()


async def test_a_busy_shadow_drops_and_never_makes_its_caller_wait() -> None:
    engine, notes = Engine(held=True), Notes()
    shadow = Shadow(engine, notes, room=3)
    document, decision = real()
    # Nothing can take a case off while the engine is held: a caller that waited would wait for ever.
    assert [shadow.offer(Question.REQUEST, document, decision, NOTHING) for _ in range(6)] == [True] * 3 + [False] * 3
    engine.gate.set()
    assert len(await notes.wait(3)) == 3
    await shadow.close()


async def test_few_plans_may_wait_for_each_may_be_large() -> None:
    engine, notes = Engine(held=True), Notes()
    shadow = Shadow(engine, notes, room=10, room_for_plans=1)
    plan, request = real(Question.PLAN), real()
    assert plan[0]["plan"] is not None
    assert shadow.offer(Question.PLAN, *plan, NOTHING)
    assert not shadow.offer(Question.PLAN, *plan, NOTHING)
    assert shadow.offer(Question.REQUEST, *request, NOTHING)
    engine.gate.set()
    await notes.wait(2)
    await shadow.close()


async def test_an_engine_that_raises_ends_its_shadow_alone() -> None:
    engine, notes = Engine(raises=True), Notes()
    shadow = Shadow(engine, notes)
    assert shadow.offer(Question.REQUEST, *real(), NOTHING)
    deadline = time.monotonic() + 60
    while not shadow.fault:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    assert shadow.fault == "the shadow's engine ended: ZeroDivisionError"
    assert not shadow.offer(Question.REQUEST, *real(), NOTHING)
    await shadow.close()
    assert engine.closed and notes.found == []


@pytest.mark.parametrize(
    ("body", "rule"),
    [(LOOP, "lockgate.engine.timeout"), (GROW, "lockgate.engine.memory"), ("(unreachable)", "lockgate.engine.trap")],
)
async def test_a_policy_that_loops_or_explodes_is_unknown_and_the_next_is_judged(body: str, rule: str) -> None:
    notes = Notes()
    shadow = Shadow(EmbeddedEngine(PolicyBundle(wasm=module(body), data=b"{}"), BRIEF), notes)
    shadow.offer(Question.REQUEST, *real(), NOTHING)
    shadow.offer(Question.LIST, *real(Question.LIST), NOTHING)
    bad, good = await notes.wait(2)
    assert bad.change is Change.UNKNOWN and bad.why == f"no policy answered now: {rule}"
    assert good.change is Change.SAME
    await shadow.close()


async def test_what_the_shadow_is_not_told_is_not_judged() -> None:
    engine, notes = Engine(), Notes()
    engine.needs = Needs((), 3600)
    shadow = Shadow(engine, notes)
    shadow.offer(Question.REQUEST, *real(), NOTHING)
    (compared,) = await notes.wait(1)
    assert compared.change is Change.UNKNOWN and "history" in compared.why
    assert engine.seen == []
    await shadow.close()
    await shadow.close()
    assert not shadow.offer(Question.REQUEST, *real(), NOTHING)
