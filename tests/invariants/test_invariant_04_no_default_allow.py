"""Invariant 4: no policy, an unreadable policy, an unknown engine state, a timeout: deny. Never a default allow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.invariants.gate import Gate
from tests.invariants.keepers import library_keeper
from tests.unit.policy.test_hostile_policy import BRIEF, GROW, LOOP, module

from lockgate.contract.decision import Decision, Obligations, Provenance, Question, Violation
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.port import PolicyLoadError

ANSWER = "(i32.const 4096)"
Load = Callable[[bytes], EmbeddedEngine]


@pytest.fixture
async def load() -> AsyncIterator[Load]:
    """The real engine on a module of the test's own."""
    engines: list[EmbeddedEngine] = []

    def loaded(wasm: bytes) -> EmbeddedEngine:
        engines.append(EmbeddedEngine(PolicyBundle(wasm=wasm, data=b"{}"), BRIEF))
        return engines[-1]

    yield loaded
    for engine in engines:
        await engine.close()


async def denied(gate: Gate) -> str:
    """The rule by which a call is denied; it is an operation that no runner is ever handed."""
    operation = await gate.ask()
    assert operation.state.value == "denied", f"{operation.state.value} without a well-formed yes"
    assert (await gate.operation(operation)).state.value == "denied"
    assert await gate.runner().poll() is None
    return operation.reasons[0].rule


@pytest.mark.parametrize(("body", "rule"), [(LOOP, "timeout"), (GROW, "memory"), ("(unreachable)", "trap")])
async def test_a_policy_that_does_not_come_to_an_answer_denies(gate: Gate, load: Load, body: str, rule: str) -> None:
    gate.core.policy = load(module(body))
    assert await denied(gate) == f"lockgate.engine.{rule}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '{{"result":true}}',
        '{{"result":{"allow":"true","violations":[],"obligations":{}}}}',
        '{{"result":{"allow":1,"violations":[],"obligations":{}}}}',
        '{{"result":{"allow":true}}}',
        '{{"result":{"allow":true,"violations":[],"obligations":{"two_keys":1}}}}',
        '{{"result":{"allow":true,"violations":[],"obligations":{"sandbox":"vm"}}}}',
        '{{"result":{"allow":false,"violations":[],"obligations":{}}}}',
    ],
)
async def test_an_answer_that_is_no_well_formed_yes_denies(gate: Gate, load: Load, text: str) -> None:
    gate.core.policy = load(module(ANSWER, text))
    assert (await denied(gate)).startswith("lockgate.engine.")


async def test_a_yes_that_carries_a_violation_denies(gate: Gate, load: Load) -> None:
    text = '{{"result":{"allow":true,"violations":[{"rule":"mine","details":{}}],"obligations":{}}}}'
    gate.core.policy = load(module(ANSWER, text))
    assert await denied(gate) == "mine"
    with pytest.raises(ValueError, match="denies"):
        Decision("d", Question.LIST, True, (Violation("x", "", "", ""),), Obligations(), "", "", "", 0)


async def test_a_question_the_policy_does_not_know_is_denied(gate: Gate, load: Load) -> None:
    gate.core.policy = load(module(ANSWER, questions=(Question.LIST,)))
    assert await denied(gate) == "lockgate.engine.undefined"


async def test_a_closed_engine_denies(gate: Gate, load: Load) -> None:
    gate.core.policy = load(module(ANSWER))
    await gate.core.policy.close()
    assert await denied(gate) == "lockgate.engine.unavailable"


async def test_no_rule_that_denies_is_no_yes() -> None:
    with pytest.raises(ValueError, match="allow"):
        Decision("d", Question.LIST, False, (), Obligations(), "", "", "", 0)
    nothing = Decision.denied(Question.LIST, "a rule nobody knows", Provenance("d", "", ""))
    assert not nothing.allow


async def test_an_engine_that_breaks_later_stops_lease_and_start(gate: Gate, load: Load) -> None:
    """Allowed once is not allowed for ever: every step asks again."""
    operation = await gate.ask()
    gate.core.policy = load(module("(unreachable)"))
    assert await gate.runner().poll() is None
    assert (await gate.operation(operation)).state.value == "denied"


async def test_an_engine_that_breaks_after_the_lease_stops_the_start(gate: Gate, load: Load) -> None:
    operation, lease = await gate.applying()
    gate.core.policy = load(module("(unreachable)"))
    answer = await gate.runner().start_apply(lease)
    assert answer.permit is None
    assert (await gate.operation(operation)).state.value == "denied"


async def test_others_are_decided_while_one_decision_hangs(gate: Gate, load: Load) -> None:
    """A hanging plan decision denies in the end and holds up nobody meanwhile."""
    engine = load(module(LOOP))
    hanging = asyncio.create_task(engine.decide(Question.PLAN, {}))
    assert not (await engine.decide(Question.REQUEST, {})).allow
    assert not (await hanging).allow


@pytest.mark.parametrize("content", [None, "version: [", "version: 1\nroles: {}\n", "version: 1\nunknown: 1\n"])
async def test_a_gateway_without_readable_policy_does_not_come_up(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "data.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PolicyLoadError, match=r"data\.yaml"):
        await library_keeper(path).begin()
