"""A record holds the bytes that the engine evaluated, not what the gateway would make of the document a second time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.invariants.gate import Gate
from tests.invariants.parties import plan_bytes

from lockgate.contract.decision import Decision, Question
from lockgate.gateway.operations.inputs import SHARED_FROM, keep_input
from lockgate.gateway.operations.masking import Masking, read_pointer
from lockgate.gateway.store.port import DecisionsOf
from lockgate.policy.input import encode_input, input_sha256


class Spacious:
    """The gate's engine, but what it says it evaluated has spaces, which no encoder of the gateway writes."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        made: Decision = await self._inner.decide(question, document)
        evaluated = json.dumps(json.loads(made.evaluated)).encode()
        return replace(made, evaluated=evaluated, input_sha256=input_sha256(evaluated))


async def test_the_record_is_of_the_bytes_that_were_evaluated(gate: Gate) -> None:
    gate.core.policy = Spacious(gate.core.policy)
    for operation in (await gate.pending(), await gate.ask()):
        decisions = await gate.store.read(DecisionsOf(operation.id))
        assert decisions
        for decision in decisions:
            assert decision.input is not None
            data = decision.input.data()
            assert b'": ' in data and input_sha256(data) == decision.document["input_sha256"]


async def test_with_a_plan_too_the_bytes_are_those_of_the_digest(gate: Gate) -> None:
    operation = await gate.pending(plan=plan_bytes())
    decisions = await gate.store.read(DecisionsOf(operation.id))
    assert {decision.question for decision in decisions} == {"request", "plan"}
    for decision in decisions:
        assert decision.input is not None
        assert input_sha256(decision.input.data()) == decision.document["input_sha256"]


async def test_what_is_masked_after_is_not_what_was_evaluated(gate: Gate) -> None:
    gate.core.masking = Masking(bytes(32), mask=(read_pointer("/reason"),))
    operation = await gate.ask(reason="a reason that nobody keeps")
    (decision,) = await gate.store.read(DecisionsOf(operation.id))
    assert decision.input is not None and b"nobody keeps" not in decision.input.data()
    assert decision.masked == ("/reason",)


def test_a_plan_is_cut_out_of_the_bytes_and_put_back_to_the_byte() -> None:
    plan = {"padding": "x" * SHARED_FROM, "plan": {"plan": 1}}
    document = {"arguments": {"note": ',"plan":{', "plan": None}, "plan": plan, "question": "plan", "tenant": "t"}
    evaluated = encode_input(document)
    kept = keep_input(document, evaluated)
    assert kept.part is not None and kept.part.data() == encode_input(plan)
    assert kept.data() == evaluated == keep_input(document).data()


def test_bytes_that_are_laid_out_otherwise_are_kept_whole() -> None:
    document = {"arguments": {}, "plan": {"padding": "x" * SHARED_FROM}, "question": "plan"}
    evaluated = json.dumps(document).encode()
    assert keep_input(document, evaluated).data() == evaluated
