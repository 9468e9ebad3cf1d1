"""Every decision that took effect is a record in the transaction of what it decided, and any record replays to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.invariants.days import APPROVER, a_busy_day, every_record
from tests.invariants.gate import Gate
from tests.invariants.parties import REASON, agent

from lockgate.contract.decision import Decision, Question
from lockgate.gateway.core import Retention
from lockgate.gateway.errors import Unavailable
from lockgate.gateway.operations.masking import Masking, read_hidden_pointer, read_pointer
from lockgate.gateway.operations.records import record_document, recorded
from lockgate.gateway.scheduling.forgetting import forget
from lockgate.gateway.store.port import AuditEntries, Decisions, ListOperations, StoreError, TreeHead
from lockgate.gateway.store.sqlite.connection import open_reader
from lockgate.gateway.vouching import Log, altered
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.keeping import packed, unpacked
from lockgate.policy.replay import UNHURRIED, Replayed, Verdict, replay

CANARY = "correct-horse-battery"


@pytest.fixture
def made(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Decision]]:
    """Every decision the gateway was given, in order, but for those on what a list shows: nothing follows from them."""
    answers: list[Decision] = []
    observer = gate.core.observer
    decide = type(observer).decide

    async def noted(self: Any, engine: Any, question: Question, document: Any) -> Decision:
        answer = await decide(self, engine, question, document)
        if question is not Question.LIST:
            answers.append(answer)
        return answer

    monkeypatch.setattr(type(observer), "decide", noted)
    yield answers


async def test_every_decision_of_a_busy_day_is_recorded_whole(gate: Gate, made: list[Decision]) -> None:
    await a_busy_day(gate)
    records = {record.id: record for record in await every_record(gate)}
    assert {answer.question for answer in made} >= {Question(name) for name in ("request", "plan", "apply", "approve")}
    assert {answer.question for answer in made} >= {Question.VIEW, Question.ADMIN, Question.CANCEL}
    assert set(records) == {answer.id for answer in made}
    for answer in made:
        record = records[answer.id]
        assert record.document == answer.to_document()
        shown = record_document(record)
        assert (shown["engine"], bool(shown["engine_version"])) == ("opa-wasm", True)
        assert record.input is not None


async def test_any_decision_replays_to_the_byte_from_what_the_store_holds(gate: Gate, made: list[Decision]) -> None:
    await a_busy_day(gate)
    kept = packed(gate.core.policy.bundle)
    again = EmbeddedEngine(unpacked(kept, gate.core.policy.revision), UNHURRIED)
    records = await every_record(gate)
    assert len(records) == len(made)
    for record in records:
        assert record.revision == again.revision
        found = await replay(again, recorded(record))
        assert (found.verdict, found.new) == (Verdict.SAME, found.old), (record.question, found)
    await again.close()


async def test_the_log_names_every_recorded_decision_and_vouches_for_its_record(
    gate: Gate, made: list[Decision]
) -> None:
    await a_busy_day(gate)
    entries = await gate.store.read(AuditEntries(limit=500, kind="decision.made"))
    logged = {entry.body["decision"]: entry for entry in entries}
    records = await every_record(gate)
    assert {record.question for record in records} >= {"request", "plan", "apply", "view", "approve", "admin", "cancel"}
    assert [altered(record, logged.get(record.id)) for record in records] == [""] * len(records)
    assert len(logged) == len(entries) == len(records)
    log = Log(gate.store)
    assert [await log.says(record) for record in records] == [""] * len(records)


async def test_that_something_still_waits_is_recorded_once(gate: Gate, made: list[Decision]) -> None:
    waits = await gate.ask()
    await gate.desk.freeze(APPROVER, "*", True, "a quiet hour")
    for _ in range(3):
        assert await gate.runner().poll() is None
    looked = [answer.id for answer in made if answer.question is Question.REQUEST][1:]
    records = {record.id for record in await every_record(gate)}
    assert len(looked) == 3
    assert [name in records for name in looked] == [True, False, False]
    assert (await gate.operation(waits)).waiting_for == "freeze"


async def test_what_cannot_be_recorded_does_not_happen(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise StoreError("no room for a record")

    monkeypatch.setattr("lockgate.gateway.store.sqlite.commands.insert_decisions", broken)
    for attempt in (
        gate.ask,
        lambda: gate.desk.freeze(APPROVER, "*", True, "now"),
        lambda: gate.desk.list(APPROVER, states=(), target=None, before=None, limit=10),
    ):
        with pytest.raises(Unavailable):
            await attempt()
    monkeypatch.undo()
    await gate.core.refresh()
    assert gate.core.standing.frozen == frozenset()
    assert await gate.store.read(ListOperations("default")) == ()
    assert await gate.store.read(Decisions()) == ()


async def replayed(gate: Gate) -> dict[str, Replayed]:
    """Every record of the store made again under its own policy."""
    again = EmbeddedEngine(unpacked(packed(gate.core.policy.bundle), gate.core.policy.revision), UNHURRIED)
    found = {record.id: await replay(again, recorded(record)) for record in await every_record(gate)}
    await again.close()
    return found


async def whole_store(gate: Gate, table: str) -> bytes:
    """Every byte of a table."""
    await gate.close()
    database = open_reader(gate.path)
    rows = database.execute(f"SELECT * FROM {table}").fetchall()
    database.close()
    await gate.open()
    return b"".join(part if isinstance(part, bytes) else str(part).encode() for row in rows for part in row)


async def test_what_is_hidden_is_in_no_record_and_replays_to_the_byte(gate: Gate) -> None:
    gate.core.masking = Masking(b"k" * 32, hide=(read_hidden_pointer("/reason"),))
    operation = await gate.ask(reason=f"{REASON} {CANARY}")
    (record,) = await every_record(gate)
    assert (record.hidden, record.masked, operation.state.value) == (("/reason",), (), "queued")
    assert [found.verdict for found in (await replayed(gate)).values()] == [Verdict.SAME]
    assert CANARY.encode() not in await whole_store(gate, "decision")


async def test_what_is_masked_is_in_no_record_and_never_called_a_difference(gate: Gate) -> None:
    pointers = ("/reason", "/subject/roles/*")
    gate.core.masking = Masking(b"k" * 32, mask=tuple(map(read_pointer, pointers)))
    await gate.ask(reason=f"{REASON} {CANARY}")
    await gate.ask(agent(roles=()), reason=f"{REASON} {CANARY}")
    allowed, denied = [(record, (await replayed(gate))[record.id]) for record in await every_record(gate)]
    assert (allowed[0].masked, denied[0].masked) == (("/reason", "/subject/roles/0"), ("/reason",))
    assert (allowed[1].verdict, allowed[1].why) == (Verdict.UNKNOWN, "masked: /reason, /subject/roles/0")
    assert denied[1].verdict is Verdict.SAME
    gate.core.masking = Masking(b"k" * 32, mask=(read_pointer("/reason"),))
    last = await gate.ask(reason=f"{REASON} {CANARY}", idempotency_key="again")
    assert (await replayed(gate))[last.decision].verdict is Verdict.SAME
    assert CANARY.encode() not in await whole_store(gate, "decision")


async def test_a_decision_whose_input_has_had_its_days_says_so(gate: Gate) -> None:
    gate.core.retention = Retention(input_days=1, record_days=2)
    old = await gate.ask()
    assert not await forget(gate.core)
    gate.clock.advance(86_401)
    young = await gate.ask(idempotency_key="young")
    size = (await gate.store.read(TreeHead())).size
    assert await forget(gate.core)
    found = await replayed(gate)
    assert (found[old.decision].verdict, found[old.decision].why) == (Verdict.UNKNOWN, "its input is no longer kept")
    assert found[young.decision].verdict is Verdict.SAME
    assert not await forget(gate.core)
    gate.clock.advance(86_401)
    assert await forget(gate.core)
    assert [record.id for record in await every_record(gate)] == [young.decision]
    assert (await gate.store.read(TreeHead())).size == size
