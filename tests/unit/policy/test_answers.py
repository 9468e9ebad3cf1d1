"""An answer that an engine remembers as read is the answer that was given, and what it remembers is bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.policy.test_hostile_policy import module

from lockgate.contract.decision import Question
from lockgate.policy.bundle import PolicyBundle, load_library
from lockgate.policy.embedded import MEMO_ANSWERS, MEMO_BYTES, EmbeddedEngine
from lockgate.policy.replay import UNHURRIED, answer_bytes
from lockgate.testing.policy_engine import example_input

REQUEST = example_input(Question.REQUEST)


@pytest.fixture
async def engine() -> AsyncIterator[EmbeddedEngine]:
    made = EmbeddedEngine(load_library(), UNHURRIED)
    yield made
    await made.close()


def asked(target: str, *roles: str) -> dict[str, Any]:
    subject, named = {**REQUEST["subject"], "roles": list(roles)}, {**REQUEST["target"], "name": target}
    return {**REQUEST, "subject": subject, "target": named}


async def test_questions_in_turn_are_answered_as_if_nothing_were_remembered(engine: EmbeddedEngine) -> None:
    documents = [asked("one", "operator"), asked("one"), asked("two"), asked("two", "operator")]
    alone = []
    for document in documents:
        engine._loop_bench._read.clear()
        alone.append(answer_bytes(await engine.decide(Question.REQUEST, document)))
    assert len(set(alone)) == 3  # both targets are allowed alike
    for _ in range(2):
        assert [answer_bytes(await engine.decide(Question.REQUEST, document)) for document in documents] == alone


async def test_decisions_that_share_an_answer_are_decisions_of_their_own(engine: EmbeddedEngine) -> None:
    one, two = [await engine.decide(Question.REQUEST, asked(name, "operator")) for name in ("one", "two")]
    assert one.allow and two.allow and one.id != two.id
    assert one.input_sha256 != two.input_sha256 and one.evaluated != two.evaluated


async def test_at_most_so_many_answers_are_remembered(engine: EmbeddedEngine) -> None:
    bench = engine._loop_bench
    for number in range(MEMO_ANSWERS + 20):
        decision = await engine.decide(Question.REQUEST, asked(f"target-{number}"))
        assert decision.violations[0].details["target"] == f"target-{number}"
    assert len(bench._read) == MEMO_ANSWERS


async def test_a_long_answer_is_not_remembered() -> None:
    details = '{"text":"' + "x" * MEMO_BYTES + '"}'
    text = '{{"result":{"allow":false,"violations":[{"rule":"long","details":' + details + '}],"obligations":{}}}}'
    engine = EmbeddedEngine(PolicyBundle(wasm=module("(i32.const 4096)", text), data=b"{}"), UNHURRIED)
    for _ in range(2):
        decision = await engine.decide(Question.REQUEST, REQUEST)
        assert len(decision.violations[0].details["text"]) == MEMO_BYTES
    assert engine._loop_bench._read == {}
    await engine.close()


async def test_an_answer_that_is_no_output_is_refused_each_time_it_is_given() -> None:
    wrong = '{{"result":{"allow":"yes","violations":[],"obligations":{}}}}'
    engine = EmbeddedEngine(PolicyBundle(wasm=module("(i32.const 4096)", wrong), data=b"{}"), UNHURRIED)
    for _ in range(2):
        decision = await engine.decide(Question.REQUEST, REQUEST)
        assert [violation.rule for violation in decision.violations] == ["lockgate.engine.output"]
    await engine.close()
