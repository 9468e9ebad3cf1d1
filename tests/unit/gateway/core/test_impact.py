"""Recorded decisions of a real gateway under another policy: what changes is named, what cannot be judged is said, nothing is asked twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.conftest import MakeEngine
from tests.invariants.gate import Gate
from tests.invariants.parties import agent, human

from lockgate.contract.decision import Decision, Question
from lockgate.gateway import impact
from lockgate.gateway.impact import Impact, Judged, Span, measure
from lockgate.gateway.operations.inputs import KeptInput
from lockgate.gateway.operations.model import DecisionRecord
from lockgate.gateway.store.port import Append, Decisions, KeepBundle
from lockgate.policy.bundle import LIBRARY, load_library
from lockgate.policy.comparison import Change
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.input import encode_input, input_sha256
from lockgate.policy.keeping import packed
from lockgate.policy.needs import Budget, Counts, Needs, Per
from lockgate.policy.port import PolicyEngine
from lockgate.policy.replay import UNHURRIED
from lockgate.testing.store import done

NO_OPERATORS = ("kind: agent, roles: [operator]}", "kind: agent, roles: [approver]}")
TWO_VOTES = ("standard: {count: 1,", "standard: {count: 2,")
EVERYTHING = Span(0, 1 << 42)


async def measured(gate: Gate, engine: PolicyEngine, span: Span = EVERYTHING) -> Impact:
    return await measure(gate.store, engine, span, lambda _: None)


async def test_under_the_policy_that_decided_nothing_is_otherwise(gate: Gate) -> None:
    await gate.applied()
    await gate.vote(await gate.pending(), human("carol"))
    await gate.ask(agent("eve", roles=()))
    found = await measured(gate, gate.core.policy, Span(0, 1 << 42, tuple(Question)))
    document = found.document()
    assert not found.differs and not found.denies and document["decisions"] > 8
    assert document["changes"]["same"] == document["decisions"] == found.known
    assert document["before"] == document["after"] and document["differences"] == []


async def test_what_would_be_denied_is_named_by_operation_rule_action_target_and_agent(
    gate: Gate, library: MakeEngine
) -> None:
    allowed = await gate.ask()
    denied = await gate.ask(agent("eve", roles=()))
    found = await measured(gate, library(NO_OPERATORS))
    document = found.document()
    assert found.denies and found.differs
    (row,) = document["differences"]
    assert (row["operation"], row["decision"]) == (allowed.id, allowed.decision)
    assert (row["question"], row["change"], row["rules"]) == ("request", "would_deny", ["role"])
    assert (row["action"], row["target"], row["agent"]) == ("set_replicas", "web-dev", allowed.principal.id)
    assert (document["before"], document["after"]) == ({"allow": 1, "deny": 1}, {"deny": 2})
    assert document["operations"] == 2 and document["operations_by_change"]["would_deny"] == 1
    for name, value in (("rule", "role"), ("action", "set_replicas"), ("target", "web-dev"), ("agent", row["agent"])):
        (counted,) = document[f"{name}s"]
        assert counted[name] == value and counted["changes"]["would_deny"] == 1
    assert denied.id not in json.dumps(document["differences"])


async def test_what_would_be_allowed_and_other_approvals_are_told_apart(gate: Gate, library: MakeEngine) -> None:
    await gate.pending()
    with_two = (await measured(gate, library(TWO_VOTES))).document()
    assert with_two["changes"]["approvals_changed"] >= 1 and with_two["changes"]["would_deny"] == 0
    strict = library(NO_OPERATORS)
    gate.core.policy = strict
    refused = await gate.ask()
    assert refused.state.value == "denied"
    back = (await measured(gate, library())).document()
    assert [row["operation"] for row in back["differences"] if row["change"] == "would_allow"] == [refused.id]


async def test_only_the_span_and_its_questions_are_judged(gate: Gate, library: MakeEngine) -> None:
    await gate.ask()
    noon = gate.clock.now + 1
    gate.clock.advance(60)
    later = await gate.ask(replicas=5)
    await gate.desk.list(human("carol"), states=(), target=None, before=None, limit=5)
    strict = library(NO_OPERATORS)
    only = (await measured(gate, strict, Span(noon, 1 << 42))).document()
    assert [row["operation"] for row in only["differences"]] == [later.id] and only["decisions"] == 1
    assert (await measured(gate, strict, Span(noon, 1 << 42, (Question.VIEW,)))).judged == 1
    assert (await measured(gate, strict, Span(noon, 1 << 42, tenant="elsewhere"))).judged == 0


class Counting:
    """The engine it is given, counting what it is asked."""

    def __init__(self, engine: PolicyEngine, needs: Needs | None = None) -> None:
        self._engine, self.asked = engine, 0
        self.name, self.revision, self.bundle = engine.name, engine.revision, engine.bundle
        self.needs = needs or engine.needs

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        self.asked += 1
        return await self._engine.decide(question, document)

    async def close(self) -> None: ...


async def records(gate: Gate) -> tuple[DecisionRecord, ...]:
    return await gate.store.read(Decisions())


async def test_the_same_input_is_asked_once(gate: Gate, library: MakeEngine) -> None:
    await gate.ask()
    (record,) = await records(gate)
    again = tuple(
        replace(record, id=f"dec_again{n}", document=record.document | {"id": f"dec_again{n}"}) for n in range(5)
    )
    await done(gate.store, Append((), gate.clock(), again))
    engine = Counting(library(NO_OPERATORS))
    found = (await measured(gate, engine)).document()
    assert engine.asked == found["distinct_inputs"] == 1
    assert found["decisions"] == found["changes"]["would_deny"] == 6


def otherwise(record: DecisionRecord, **changes: Any) -> DecisionRecord:
    """The record with another input, under its digest."""
    assert record.input is not None
    data = encode_input(json.loads(record.input.data()) | changes)
    return replace(record, input=KeptInput(data), document=record.document | {"input_sha256": input_sha256(data)})


@pytest.mark.parametrize("case", ["gone", "masked", "damaged", "version", "needs", "budget"])
async def test_what_cannot_be_judged_is_said_and_is_no_difference(gate: Gate, library: MakeEngine, case: str) -> None:
    await gate.ask()
    (record,) = await records(gate)
    assert record.input is not None
    altered, why = {
        "gone": (replace(record, input=None), "no longer kept"),
        "masked": (replace(record, masked=("/reason",)), "masked: /reason"),
        "damaged": (replace(record, input=KeptInput(record.input.data().replace(b"web-dev", b"web-bad"))), "damaged"),
        "version": (otherwise(record, version=2), "lockgate.engine.input"),
        "needs": (record, "no history"),
        "budget": (otherwise(record, context={"budgets": {"hourly": {}}}), "nobody knows any more"),
    }[case]
    hourly = Budget("hourly", None, Per.PRINCIPAL, Counts.CHANGES, 3600, 10)
    needs = {"needs": Needs((), 60), "budget": Needs((hourly,))}
    engine = Counting(library(NO_OPERATORS), needs.get(case))
    judged = await impact._Judge(engine, gate.store).judge(altered)
    assert judged.change is Change.UNKNOWN and why in judged.why
    found = Impact(EVERYTHING, "sha256:r")
    found.add(judged)
    assert found.known == 0 and not found.differs
    assert found.document()["unknown"] == [{"why": judged.why, "count": 1}]


async def test_memory_is_bounded_whatever_was_recorded(
    gate: Gate, library: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, bound in (("MAX_NAMED", 2), ("MAX_KEYS", 2), ("MAX_OPERATIONS", 2), ("REMEMBERED", 1)):
        monkeypatch.setattr(impact, name, bound)
    for number in range(5):
        await gate.ask(agent(f"bot-{number}"))
    found = await measured(gate, library(NO_OPERATORS))
    document = found.document()
    assert document["changes"]["would_deny"] == 5 and document["cut"] is True
    assert len(document["differences"]) == 2 and document["differences_left_out"] == 3
    assert sum(row["total"] for row in document["agents"]) == 5
    assert {row["agent"] for row in document["agents"]} >= {impact.OTHER}


async def test_the_gravest_change_of_an_operation_is_what_it_counts_for(gate: Gate, library: MakeEngine) -> None:
    await gate.pending()
    found = Impact(EVERYTHING, "sha256:r")
    first, *_ = [await impact._Judge(library(), gate.store).judge(record) for record in await records(gate)]
    for change in (Change.SAME, Change.WOULD_DENY, Change.OTHER_RULES, Change.UNKNOWN):
        found.add(
            replace(first, change=change) if change is not Change.UNKNOWN else Judged(first.record, change, first.about)
        )
    assert {name: count for name, count in found.document()["operations_by_change"].items() if count} == {
        "would_deny": 1
    }


async def test_progress_is_told_while_it_works(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        await gate.ask()
    read = type(gate.store).read

    async def small_pages(store: Any, query: Any) -> Any:
        return await read(store, replace(query, limit=1) if isinstance(query, Decisions) else query)

    monkeypatch.setattr(type(gate.store), "read", small_pages)
    heard: list[int] = []
    await measure(gate.store, gate.core.policy, EVERYTHING, heard.append)
    assert heard == [1, 2, 3]


BUDGET = (
    "\nbudgets:\n  - {{name: hourly, per: {per}, counts: operations, window_seconds: 3600, limit: 100, effect: deny}}\n"
)


async def test_a_budget_is_judged_where_the_policy_of_then_counted_the_same(gate: Gate, tmp_path: Path) -> None:
    text = LIBRARY.joinpath("data.default.yaml").read_text("utf-8")
    engines = [library_engine(tmp_path, text + BUDGET.format(per=per)) for per in ("principal", "tenant")]
    gate.core.policy = engines[0]
    bundle = engines[0].bundle
    await done(gate.store, KeepBundle(bundle.revision, packed(bundle), gate.clock.now))
    await gate.ask()
    same, other = [(await measured(gate, engine)).document() for engine in engines]
    assert same["changes"]["same"] == 1, same["unknown"]
    assert other["unknown"] == [{"why": "the input holds another budget 'hourly'", "count": 1}]
    for engine in engines:
        await engine.close()


def library_engine(folder: Path, data: str) -> EmbeddedEngine:
    (folder / "data.yaml").write_text(data)
    return EmbeddedEngine(load_library(folder / "data.yaml"), UNHURRIED)
