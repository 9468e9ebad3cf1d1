"""A policy that loops, eats memory, traps or talks rubbish denies, and harms nobody else (invariant 4)."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import wasmtime

from lockgate.contract.decision import Decision, Question
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.compile import entrypoint
from lockgate.policy.embedded import AWAY_NS, EmbeddedEngine, EngineSettings
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.wasm import Bounds
from lockgate.testing.policy_engine import example_input

BRIEF = EngineSettings(loop=Bounds(memory_bytes=64 << 20, input_bytes=1 << 20, seconds=0.5))
"""Bounds that a loop soon runs into, and that what answers is within on a busy machine too."""
YES = '{{"result":{"allow":true,"violations":[],"obligations":{}}}}'
LOOP = "(loop $l (br $l)) (i32.const 0)"
GROW = """(loop $l
    (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (call $abort (i32.const 256))))
    (br $l))
  (i32.const 0)"""


def module(body: str, text: str = YES, *, minor: int = 3, questions: tuple[Question, ...] = tuple(Question)) -> bytes:
    """A module with OPA's ABI whose `list` says yes and whose other questions run `body`; values are their own JSON."""
    entrypoints = ",".join(
        f'\\"{entrypoint(question)}\\":{int(question is not Question.LIST)}' for question in questions
    )
    escaped = text.encode().hex()
    answer = "".join("\\" + escaped[i : i + 2] for i in range(0, len(escaped), 2))
    return bytes(
        wasmtime.wat2wasm(
            f"""(module
  (import "env" "memory" (memory 3))
  (import "env" "opa_abort" (func $abort (param i32)))
  (import "env" "opa_builtin0" (func $builtin (param i32 i32) (result i32)))
  (global (export "opa_wasm_abi_version") i32 (i32.const 1))
  (global (export "opa_wasm_abi_minor_version") i32 (i32.const {minor}))
  (data (i32.const 256) "opa_malloc: failed\\00")
  (data (i32.const 512) "{{\\"opa.runtime\\":7}}\\00")
  (data (i32.const 1024) "{{{entrypoints}}}\\00")
  (data (i32.const 2048) "{YES.replace('"', chr(92) + '"')}\\00")
  (data (i32.const 4096) "{answer}\\00")
  (func (export "opa_malloc") (param i32) (result i32) (i32.const 131072))
  (func (export "opa_json_parse") (export "opa_value_parse") (param i32 i32) (result i32) (i32.const 512))
  (func (export "opa_json_dump") (export "opa_value_dump") (param i32) (result i32) (local.get 0))
  (func (export "builtins") (result i32) (i32.const 512))
  (func (export "entrypoints") (result i32) (i32.const 1024))
  (func (export "opa_heap_ptr_get") (result i32) (i32.const 131072))
  (func (export "opa_eval") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
    (if (i32.eqz (local.get 1)) (then (return (i32.const 2048))))
    {body}))"""
        )
    )


Start = Callable[..., EmbeddedEngine]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    engines: list[EmbeddedEngine] = []

    def started(wasm: bytes, settings: EngineSettings = BRIEF) -> EmbeddedEngine:
        engines.append(EmbeddedEngine(PolicyBundle(wasm=wasm, data=b"{}"), settings))
        return engines[-1]

    yield started
    for engine in engines:
        await engine.close()


async def ask(engine: EmbeddedEngine, question: Question) -> Decision:
    return await engine.decide(question, example_input(question))


def only_rule(decision: Decision) -> str:
    assert not decision.allow
    assert len(decision.violations) == 1
    return decision.violations[0].rule


async def test_the_harness_can_say_yes(start: Start) -> None:
    engine = start(module("(i32.const 4096)"))
    assert (await ask(engine, Question.REQUEST)).allow
    assert (await ask(engine, Question.APPLY)).allow


async def test_engines_of_one_module_share_its_code_and_neither_deadline_nor_end(start: Start) -> None:
    wasm = module(LOOP)
    first, second = start(wasm), start(wasm)
    assert only_rule(await ask(first, Question.REQUEST)) == "lockgate.engine.timeout"
    await first.close()
    assert only_rule(await ask(second, Question.REQUEST)) == "lockgate.engine.timeout"
    assert (await ask(second, Question.LIST)).allow


@pytest.mark.parametrize("question", [Question.REQUEST, Question.PLAN])
@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (LOOP, "lockgate.engine.timeout"),
        (GROW, "lockgate.engine.memory"),
        ("(i32.load (i32.const 0x7ffffff0))", "lockgate.engine.memory"),
        ("(unreachable)", "lockgate.engine.trap"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "lockgate.engine.trap"),
        ("(call $builtin (i32.const 7) (i32.const 0))", "lockgate.engine.builtin"),
        ("(call $builtin (i32.const 8) (i32.const 0))", "lockgate.engine.builtin"),
        ("(i32.const 0x7ffffff0)", "lockgate.engine.output"),
        ("(i32.const -1)", "lockgate.engine.output"),
    ],
)
async def test_what_ends_without_an_answer_denies_and_the_next_question_is_answered(
    start: Start, question: Question, body: str, rule: str
) -> None:
    engine = start(module(body))
    for _ in range(3):
        assert only_rule(await ask(engine, question)) == rule
        assert (await ask(engine, Question.LIST)).allow


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "lockgate.engine.output"),
        ("yes", "lockgate.engine.output"),
        ("set()", "lockgate.engine.undefined"),
        ("[]", "lockgate.engine.output"),
        ("{}", "lockgate.engine.output"),
        ("{{}", "lockgate.engine.output"),
        ('{{"result":1},{"result":2}}', "lockgate.engine.output"),
        ("{}", "lockgate.engine.output"),
        ("null", "lockgate.engine.output"),
        ("true", "lockgate.engine.output"),
        ('{"0":{"result":{}}}', "lockgate.engine.output"),
        ("[1]", "lockgate.engine.output"),
        ('{{"result":true}}', "lockgate.engine.output"),
        ('{{"result":null}}', "lockgate.engine.output"),
        ('{{"result":{}}}', "lockgate.engine.output"),
        ('{{"result":{"allow":true}}}', "lockgate.engine.output"),
        ('{{"result":{"allow":"true","violations":[],"obligations":{}}}}', "lockgate.engine.output"),
        ('{{"result":{"allow":1,"violations":[],"obligations":{}}}}', "lockgate.engine.output"),
        ('{{"result":{"allow":true,"violations":{},"obligations":{}}}}', "lockgate.engine.output"),
        ('{{"result":{"allow":true,"violations":[],"obligations":{},"deny":true}}}', "lockgate.engine.output"),
        ('{{"result":{"allow":true,"violations":[],"obligations":{"two_keys":1}}}}', "lockgate.engine.obligation"),
        ('{{"result":{"allow":true,"violations":[],"obligations":{"sandbox":"vm"}}}}', "lockgate.engine.obligation"),
        ('{{"result":{"allow":true,"violations":[],"obligations":{"max_seconds":0}}}}', "lockgate.engine.output"),
        ('{{"result":{"allow":true,"violations":[{"rule":"x"}],"obligations":{}}}}', "x"),
        ('{{"result":{"allow":false,"violations":[],"obligations":{}}}}', "lockgate.engine.no_allow"),
    ],
)
async def test_an_answer_that_is_not_exactly_a_yes_denies(start: Start, text: str, rule: str) -> None:
    assert only_rule(await ask(start(module("(i32.const 4096)", text)), Question.REQUEST)) == rule


async def test_a_question_without_an_entry_point_is_denied(start: Start) -> None:
    engine = start(module("(i32.const 4096)", questions=(Question.LIST,)))
    assert only_rule(await ask(engine, Question.REQUEST)) == "lockgate.engine.undefined"


@pytest.mark.parametrize(
    ("wasm", "problem"),
    [
        (b"", "no WebAssembly module"),
        (b"\0asm", "no WebAssembly module"),
        (wasmtime.wat2wasm("(module)"), "no OPA policy"),
        (module("(unreachable)", minor=1), "ABI 1.1"),
    ],
)
def test_what_is_no_policy_is_not_loaded(wasm: bytes, problem: str) -> None:
    with pytest.raises(PolicyLoadError, match=problem):
        EmbeddedEngine(PolicyBundle(wasm=wasm, data=b"{}", source="mine.wasm"))


async def test_others_are_answered_while_a_plan_decision_loops(start: Start) -> None:
    engine = start(module(LOOP))
    looping = asyncio.create_task(ask(engine, Question.PLAN))
    answered = await answers_until_done(engine, looping)
    assert only_rule(await looping) == "lockgate.engine.timeout"
    assert answered > 5


async def test_a_question_that_looped_once_no_longer_holds_the_loop(start: Start) -> None:
    engine = start(module(LOOP))
    assert only_rule(await ask(engine, Question.REQUEST)) == "lockgate.engine.timeout"
    looping = [asyncio.create_task(ask(engine, Question.REQUEST)) for _ in range(5)]
    answered = await answers_until_done(engine, looping[-1])
    assert [only_rule(await task) for task in looping] == ["lockgate.engine.timeout"] * 5
    assert answered > 5


async def test_more_than_the_worker_can_hold_is_denied_at_once(start: Start) -> None:
    # The first one must still loop when the last one has been asked.
    engine = start(module(LOOP), EngineSettings(worker=Bounds(memory_bytes=64 << 20, input_bytes=1 << 20, seconds=6)))
    first = asyncio.create_task(ask(engine, Question.PLAN))
    await asyncio.sleep(0)
    crowd = [asyncio.create_task(ask(engine, Question.PLAN)) for _ in range(64)]
    await asyncio.sleep(0)
    assert not first.done()
    assert crowd[-1].done()
    assert only_rule(crowd[-1].result()) == "lockgate.engine.busy"
    for task in crowd:
        task.cancel()
    assert only_rule(await first) == "lockgate.engine.timeout"
    await asyncio.gather(*crowd, return_exceptions=True)


async def answers_until_done(engine: EmbeddedEngine, task: asyncio.Task[Decision]) -> int:
    answered = 0
    while not task.done():
        assert (await ask(engine, Question.LIST)).allow
        answered += 1
        await asyncio.sleep(0)
    return answered


async def test_a_question_that_was_too_slow_is_kept_out_of_the_event_loop_for_a_while() -> None:
    now = 0
    engine = EmbeddedEngine(PolicyBundle(wasm=module(LOOP), data=b"{}"), BRIEF, clock_ns=lambda: now)
    in_the_loop = []
    for moment in (0, 1, AWAY_NS - 1, AWAY_NS):
        now = moment
        asked = asyncio.create_task(ask(engine, Question.REQUEST))
        await asyncio.sleep(0)  # one turn: what is decided in the loop is decided in it
        in_the_loop.append(asked.done())
        assert only_rule(await asked) == "lockgate.engine.timeout"
    assert in_the_loop == [True, False, False, True]
    await engine.close()
