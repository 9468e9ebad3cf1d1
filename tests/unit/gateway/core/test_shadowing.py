"""Shadow mode on a real core: it changes no outcome, is counted and logged within bounds, and its file is its own trouble."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import agent, human
from tests.unit.policy.test_hostile_policy import BRIEF, GROW, LOOP, YES, module

from lockgate.contract.decision import Decision, Question
from lockgate.gateway.errors import Forbidden
from lockgate.gateway.policydesk import PolicyDesk
from lockgate.gateway.scheduling.rates import Rates
from lockgate.gateway.scheduling.wakeups import Wakeups
from lockgate.gateway.shadowing import PER_KIND, PER_MINUTE, Companion, Ledger, Shadowing, shadow_loader
from lockgate.gateway.store.port import AuditEntries, Decisions
from lockgate.policy.bundle import LIBRARY, PolicyBundle, load_library
from lockgate.policy.bundles.archive import pack
from lockgate.policy.bundles.layout import bundle_files
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.input import encode_input
from lockgate.policy.port import PolicyEngine
from lockgate.policy.replay import UNHURRIED
from lockgate.policy.shadow import Shadow

NO = '{{"result":{"allow":false,"violations":[{"rule":"nope","details":{}}],"obligations":{}}}}'
MORE = '{{"result":{"allow":true,"violations":[],"obligations":{"approvals":{"count":9,"groups":{},"expires_in":1}}}}}'
ANSWER = "(i32.const 4096)"


@asynccontextmanager
async def shadowed(gate: Gate, wasm: bytes) -> AsyncIterator[Shadowing]:
    """The gate with a shadow of this module."""

    async def load() -> PolicyEngine | None:
        return None if shadowing.companion else EmbeddedEngine(PolicyBundle(wasm=wasm, data=b"{}"), BRIEF)

    shadowing = Shadowing(gate.core, load)
    await shadowing.look()
    assert gate.core.shadow is not None
    yield shadowing
    await shadowing.close()


async def settled(shadowing: Shadowing, count: int) -> dict[str, Any]:
    """The document once `count` decisions were compared or dropped."""
    return await until(shadowing, lambda found: found["compared"] + found["dropped"] >= count)


async def until(shadowing: Shadowing, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The document as soon as it is so."""
    deadline = time.monotonic() + 60
    while True:
        found = shadowing.document()
        if reached(found):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.005)


async def story(gate: Gate) -> list[tuple[str, tuple[str, ...], dict[str, Any] | None]]:
    """Some of everything: allowed, denied, planned, held for approval, voted for, applied. What each came to."""
    allowed, _ = await gate.applied()
    denied = await gate.ask(agent("eve", roles=()))
    held = await gate.pending()
    voted = await gate.vote(held, human("carol"))
    operations = [await gate.operation(one) for one in (allowed, denied, held, voted)]
    return [(one.state.value, tuple(reason.rule for reason in one.reasons), one.obligations) for one in operations]


@pytest.mark.parametrize(
    ("wasm", "change"),
    [
        (module(ANSWER, NO), "would_deny"),
        (module(ANSWER, YES), "would_allow"),
        (module(ANSWER, MORE), "approvals_added"),
        (module(LOOP), "unknown"),
        (module(GROW), "unknown"),
        (module("(unreachable)"), "unknown"),
    ],
    ids=["denies-all", "allows-all", "asks-for-approvals", "loops", "explodes", "traps"],
)
async def test_no_shadow_changes_an_outcome(
    gate: Gate, wasm: bytes, change: str, tmp_path: Path, library: Callable[..., EmbeddedEngine]
) -> None:
    alone = await Gate(tmp_path / "alone" / "store.db", library()).open()
    wanted = await story(alone)
    await alone.close()
    async with shadowed(gate, wasm) as shadowing:
        assert await story(gate) == wanted
        # It did answer, and otherwise: that it changed nothing is not for want of trying.
        await until(shadowing, lambda found: found["changes"][change] > 0)
    assert [state for state, _, _ in wanted] == ["running", "denied", "queued", "queued"]


async def test_the_shadow_sees_the_very_bytes_that_are_recorded_of_every_decision(gate: Gate) -> None:
    seen: list[bytes] = []

    class Spy(EmbeddedEngine):
        async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
            seen.append(encode_input(document))
            return await super().decide(question, document)

    ledger = Ledger("sha256:spy", gate.core.observer.metrics, gate.clock)
    shadowing = Shadowing(gate.core, None)
    shadowing.companion = Companion(Shadow(Spy(load_library(), UNHURRIED), ledger.note, room_for_plans=200), ledger)
    gate.core.shadow = shadowing.companion
    await story(gate)
    records = await gate.store.read(Decisions(limit=200))
    found = await settled(shadowing, len(records))
    assert found["dropped"] == 0 and found["compared"] == found["changes"]["same"]
    assert {record.question for record in records} >= {"request", "plan", "apply", "approve"}
    kept = [record.input.data() for record in records if record.input is not None]
    assert len(kept) == len(records) and set(kept) <= set(seen)
    await shadowing.close()


async def test_an_entry_stays_small_whatever_a_draft_answers(gate: Gate) -> None:
    rules = ",".join(f'{{"rule":"{n:03}{"x" * 100}","details":{{}}}}' for n in range(100))
    answer = NO.replace('{"rule":"nope","details":{}}', rules)
    async with shadowed(gate, module(ANSWER, answer)) as shadowing:
        await gate.ask()
        (difference,) = (await settled(shadowing, 1))["differences"]
    (body,) = await logged(gate)
    assert len(body["shadow_outcome"]["rules"]) == len(difference["rules"]) == 20
    assert len(json.dumps(body)) < 8_000


async def test_differences_are_counted_by_question_and_change(gate: Gate) -> None:
    async with shadowed(gate, module(ANSWER, NO)) as shadowing:
        first = await gate.ask()
        await gate.ask(replicas=4)
        found = await settled(shadowing, 2)
    assert found["changes"]["would_deny"] == 2 and found["dropped"] == 0, found["unknown"]
    (difference,) = found["differences"]
    assert (difference["question"], difference["change"], difference["rules"]) == ("request", "would_deny", ["nope"])
    assert difference["count"] == 2 and difference["decisions"][0] == first.decision
    assert difference["actions"] == [{"action": "set_replicas", "count": 2}]
    text = gate.core.observer.metrics.text().decode()
    assert 'lockgate_shadow_decisions_total{change="would_deny",question="request"} 2.0' in text


async def test_an_unanswered_shadow_is_counted_as_unknown_and_not_logged(gate: Gate) -> None:
    async with shadowed(gate, module("(unreachable)")) as shadowing:
        await gate.ask()
        found = await settled(shadowing, 1)
    assert found["changes"]["unknown"] == 1 and found["differences"] == []
    assert found["unknown"] == [{"why": "no policy answered now: lockgate.engine.trap", "count": 1}]
    assert await logged(gate) == []


async def logged(gate: Gate) -> list[dict[str, Any]]:
    entries = await gate.store.read(AuditEntries(limit=5_000))
    return [entry.body for entry in entries if entry.kind == "shadow.differed"]


async def test_the_log_names_the_decision_both_revisions_both_outcomes_and_the_rules(gate: Gate) -> None:
    async with shadowed(gate, module(ANSWER, YES)) as shadowing:
        denied = await gate.ask(agent("eve", roles=()))
        revision = (await settled(shadowing, 1))["revision"]
    (body,) = await logged(gate)
    assert body["decision"] == denied.decision
    assert (body["question"], body["action"], body["target"]) == ("request", "set_replicas", "web-dev")
    assert (body["change"], body["revision"], body["shadow_revision"]) == (
        "would_allow",
        gate.core.policy.revision,
        revision,
    )
    assert body["outcome"]["answer"] == "deny"
    assert body["outcome"]["rules"] == [reason.rule for reason in denied.reasons]
    assert body["shadow_outcome"]["answer"] == "allow" and body["shadow_outcome"]["rules"] == []
    assert body["outcome"]["input_sha256"] == body["shadow_outcome"]["input_sha256"]


async def test_shadowing_cannot_flood_the_log(gate: Gate) -> None:
    many = PER_KIND * 4
    async with shadowed(gate, module(ANSWER, NO)) as shadowing:
        for number in range(many):
            await gate.ask(replicas=number)
            await settled(shadowing, number + 1)
        found = shadowing.document()
        assert found["changes"]["would_deny"] == many and found["unlogged"] == many - PER_KIND
        await shadowing.log(shadowing.companion.ledger)  # type: ignore[union-attr]
        assert len(await logged(gate)) == PER_KIND < PER_MINUTE
        gate.clock.advance(60)
        await gate.ask()
        await settled(shadowing, many + 1)
    bodies = await logged(gate)
    assert len(bodies) == PER_KIND + 1 and bodies[-1]["unlogged"] == many - PER_KIND
    text = gate.core.observer.metrics.text().decode()
    assert f"lockgate_shadow_unlogged_total {many - PER_KIND:.1f}" in text


async def test_what_the_store_does_not_take_is_counted_and_let_go(gate: Gate) -> None:
    async with shadowed(gate, module(ANSWER, NO)) as shadowing:
        await gate.ask()
        await settled(shadowing, 1)
        await gate.store.close()
        await shadowing.log(shadowing.companion.ledger)  # type: ignore[union-attr]
        assert shadowing.document()["unlogged"] == 1
    assert "lockgate_shadow_unlogged_total 1.0" in gate.core.observer.metrics.text().decode()


async def test_a_file_that_cannot_be_used_is_told_and_what_was_loaded_goes_on(gate: Gate, tmp_path: Path) -> None:
    good = LIBRARY.joinpath("data.default.yaml").read_text("utf-8")
    path = tmp_path / "data.yaml"
    path.write_text("version: 1\nrolls: {}\n")
    shadowing = Shadowing(gate.core, shadow_loader(tmp_path))
    await shadowing.look()
    assert gate.core.shadow is None
    assert shadowing.document()["on"] is False and "data.yaml" in shadowing.document()["error"]
    assert (await gate.ask()).state.value == "queued"
    path.write_text(good)
    await shadowing.look()
    first = shadowing.document()
    assert first["on"] and first["error"] is None and first["revision"] == gate.core.policy.revision
    path.write_text("version: 1\n")
    await shadowing.look()
    await shadowing.look()
    assert shadowing.document()["revision"] == first["revision"] and "data.yaml" in shadowing.document()["error"]
    path.write_text(good.replace("standard: {count: 1,", "standard: {count: 2,"))
    await shadowing.look()
    assert shadowing.document()["revision"] != first["revision"] and shadowing.document()["error"] is None
    await shadowing.close()
    assert gate.core.shadow is None


async def test_a_bundle_decides_along_as_a_file_and_unpacked(gate: Gate, tmp_path: Path) -> None:
    files = bundle_files(load_library())
    unpacked = tmp_path / "unpacked"
    for name, content in files.items():
        (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
        (unpacked / name).write_bytes(content)
    packed = tmp_path / "bundle.tar.gz"
    packed.write_bytes(pack(files))
    for path in (unpacked, packed):
        shadowing = Shadowing(gate.core, shadow_loader(path))
        await shadowing.look()
        await gate.ask()
        found = await settled(shadowing, 1)
        assert (found["revision"], found["changes"]["same"]) == (load_library().revision, 1)
        await shadowing.close()


async def test_without_a_shadow_nothing_is_kept_or_started(gate: Gate) -> None:
    shadowing = Shadowing(gate.core, shadow_loader(None))
    await shadowing.look()
    assert gate.core.shadow is None and shadowing.document() == {"on": False, "error": None}
    await shadowing.close()


async def test_differences_are_for_people_of_the_operators_tenant(gate: Gate) -> None:
    desk = PolicyDesk(gate.core, Wakeups(), Rates(1000.0, 1000, gate.clock))
    assert await desk.shadow(human("carol")) == {"on": False, "error": None}
    async with shadowed(gate, module(ANSWER, YES)) as shadowing:
        desk.shadowing = shadowing
        assert (await desk.shadow(human("carol")))["on"] is True
        with pytest.raises(Forbidden, match="for default"):
            await desk.shadow(human("dora", tenant="elsewhere"))
        with pytest.raises(Forbidden):
            await desk.shadow(human("mallory", "nobody"))
