"""Policy, catalog, freezes and rates that change while operations are on their way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.keepers import library_keeper
from tests.invariants.parties import CATALOG, EMPTY, agent, catalog, human, plan_bytes

from lockgate.contract.drivers import declarations
from lockgate.gateway.catalog.watch import CatalogHolder
from lockgate.gateway.errors import BadInput, Clash, NotFound, TooMany, Unavailable
from lockgate.gateway.reloading import Reloader
from lockgate.gateway.scheduling.wakeups import Wakeups
from lockgate.gateway.store.port import AuditEntries, Control, ControlKind, GetEpoch
from lockgate.policy.bundle import LIBRARY
from lockgate.policy.needs import NOTHING

ADMIN = human("root", "admin")
CHANGED = CATALOG.replace("maximum: 20}", "maximum: 19}").replace("entry: set-replicas", "entry: set-copies")


async def moved(gate: Gate, subject: str) -> None:
    """The epoch moves in the store, behind this gateway's back."""
    await gate.store.commit(Control(ControlKind.POLICY, subject, (), gate.clock()))


async def test_a_request_decided_under_an_old_epoch_is_decided_again(gate: Gate) -> None:
    before = gate.core.standing.epoch
    await moved(gate, "sha256:another")
    operation = await gate.ask()
    assert operation.state.value == "queued"
    assert gate.core.standing.epoch == await gate.store.read(GetEpoch()) == before + 1


async def test_a_lease_and_a_start_decided_under_an_old_epoch_are_decided_again(gate: Gate) -> None:
    await gate.ask()
    await moved(gate, "sha256:a")
    lease = await gate.runner().take()
    await moved(gate, "sha256:b")
    assert (await gate.runner().start(lease)).permit is not None


async def test_an_epoch_that_never_rests_is_said_and_nothing_recorded(gate: Gate, monkeypatch: Any) -> None:
    turn = iter(range(100))
    ask = gate.core.policy.decide

    async def decide(*question: Any) -> Any:
        await moved(gate, f"sha256:{next(turn)}")
        return await ask(*question)

    parts = {"decide": staticmethod(decide), "revision": "r", "name": "n", "needs": NOTHING}
    engine = type("Restless", (), parts)()
    monkeypatch.setattr(gate.core, "policy", engine)
    with pytest.raises(Unavailable, match="nothing was recorded"):
        await gate.ask()
    assert await gate.runner().poll() is None


async def test_a_changed_catalog_denies_what_was_asked_under_the_old_one(gate: Gate) -> None:
    operation = await gate.ask()
    gate.shelf.current = catalog(CHANGED)
    assert await gate.runner().poll() is None
    ended = await gate.operation(operation)
    assert (ended.state.value, ended.reasons[0].rule) == ("denied", "lockgate.catalog_changed")


async def test_a_catalog_changed_after_the_lease_stops_the_start(gate: Gate) -> None:
    operation, lease = await gate.applying()
    gate.shelf.current = catalog(CHANGED)
    assert (await gate.runner().start_apply(lease)).permit is None
    assert (await gate.operation(operation)).state.value == "denied"


async def test_a_freeze_makes_it_wait_and_say_so(gate: Gate) -> None:
    await gate.desk.freeze(ADMIN, "target:web-dev", True, "incident")
    operation = await gate.ask()
    assert (operation.state.value, operation.waiting_for) == ("queued", "freeze")
    assert await gate.runner().poll() is None
    elsewhere = await gate.ask(target="web-prod")
    assert (await gate.runner().take()).grant.operation == elsewhere.id
    await gate.desk.freeze(ADMIN, "target:web-dev", False, "over")
    lease = await gate.runner().take()
    assert lease.grant.operation == operation.id
    assert (await gate.operation(operation)).waiting_for is None


async def test_who_waits_for_work_is_woken_once_the_freeze_is_known_to_be_over(gate: Gate) -> None:
    wakeups = Wakeups()
    gate.core.on_standing = wakeups.wake_all
    for held in (True, False):
        waiting = wakeups.watch_any()
        known = asyncio.ensure_future(seen_at_the_wake(gate, waiting))
        await gate.desk.freeze(ADMIN, "target:web-dev", held, "incident")
        assert await known is held


async def seen_at_the_wake(gate: Gate, waiting: asyncio.Future[None]) -> bool:
    await asyncio.wait_for(waiting, 60)
    return gate.core.standing.is_frozen("default", "web-dev")


@pytest.mark.parametrize("scope", ["*", "tenant:default", "target:web-dev"])
async def test_a_freeze_between_lease_and_start_stops_the_start_and_loses_nothing(gate: Gate, scope: str) -> None:
    operation, lease = await gate.applying()
    await gate.desk.freeze(ADMIN, scope, True, "incident")
    assert (await gate.runner().start_apply(lease)).permit is None
    waiting = await gate.operation(operation)
    assert (waiting.state.value, waiting.waiting_for) == ("queued", "freeze")
    await gate.runner().receipt(lease)
    await gate.desk.freeze(ADMIN, scope, False, "over")
    assert (await gate.runner().take()).grant.operation == operation.id


async def test_a_freeze_does_not_stop_a_read(gate: Gate) -> None:
    await gate.desk.freeze(ADMIN, "*", True, "incident")
    await gate.ask(action="service_status")
    lease = await gate.runner().take()
    assert (await gate.runner().start(lease)).permit is not None


async def test_a_check_may_differ_three_times(gate: Gate) -> None:
    operation = await gate.planned(await gate.ask())
    runner = gate.runner()
    for turn in range(4):
        lease = await runner.take()
        assert (await runner.start_apply(lease, plan=plan_bytes(value=10 + turn))).differs
        await runner.receipt(lease)
        if turn < 3:
            operation = await gate.planned(operation)
            assert operation.check_retries == turn + 1
    ended = await gate.operation(operation)
    assert (ended.state.value, ended.effect_shown) == ("failed", "none")


async def test_who_asks_too_fast_is_told_when_to_come_back(gate: Gate) -> None:
    gate.rates = (1.0, 2)
    await gate.close()
    await gate.open()
    await gate.ask()
    await gate.ask()
    size = len(await gate.store.read(AuditEntries()))
    with pytest.raises(TooMany) as refused:
        await gate.ask()
    assert refused.value.retry_after is not None
    assert len(await gate.store.read(AuditEntries())) == size, "such a call is no operation"
    await gate.ask(agent("another"))
    gate.clock.advance(1.1)
    await gate.ask()


async def apply_plan(gate: Gate, planned: Any, **changes: Any) -> Any:
    arguments = {"operation_id": planned.id, "semantic_sha256": planned.plan.semantic_sha256, "reason": "do it now"}
    return await gate.desk.apply_plan(planned.principal, {**arguments, **changes})


async def test_a_dry_run_is_applied_as_a_new_operation(gate: Gate) -> None:
    planned = await gate.planned(await gate.ask(dry_run=True))
    assert planned.state.value == "planned"
    applied = await apply_plan(gate, planned, idempotency_key="k")
    assert applied.id != planned.id
    assert (applied.state.value, applied.phase, applied.plan_of) == ("queued", "apply", planned.id)
    assert (await apply_plan(gate, planned, idempotency_key="k")).id == applied.id
    lease = await gate.runner().take()
    assert (await gate.runner().start_apply(lease)).permit is not None


async def test_a_plan_for_production_needs_its_own_approval(gate: Gate) -> None:
    planned = await gate.planned(await gate.ask(target="web-prod", dry_run=True))
    applied = await apply_plan(gate, planned)
    assert applied.state.value == "pending_approval"
    assert (await gate.vote(applied, human("carol"))).state.value == "queued"


async def test_only_the_own_planned_operation_with_its_digest_is_applied(gate: Gate) -> None:
    planned = await gate.planned(await gate.ask(dry_run=True))
    with pytest.raises(BadInput, match="digest"):
        await apply_plan(gate, planned, semantic_sha256="sha256:" + "0" * 64)
    with pytest.raises(NotFound):
        await apply_plan(gate, planned, operation_id="op_unknown")
    queued = await gate.ask()
    with pytest.raises(Clash, match="only a planned one"):
        await apply_plan(gate, planned, operation_id=queued.id)


async def test_nothing_to_change_is_done_at_once(gate: Gate) -> None:
    operation = await gate.planned(await gate.ask(), EMPTY)
    assert (operation.state.value, operation.effect_shown) == ("succeeded", "none")


@pytest.fixture
async def reloader(gate: Gate, tmp_path: Path) -> Any:
    """A reloader over files of the test's own, with an engine that it may close."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "all.yaml").write_text(CATALOG)
    (tmp_path / "data.yaml").write_text(LIBRARY.joinpath("data.default.yaml").read_text("utf-8"))
    keeper = library_keeper(tmp_path)
    await keeper.begin()
    gate.core.policy = keeper.in_force
    holder = CatalogHolder(tmp_path / "catalog", declarations())
    gate.core.catalog = holder
    made = Reloader(gate.core, holder, keeper, gate.keys.keyset_envelope.decode())
    await made.record()
    await made.look()
    yield made
    await gate.core.policy.close()


async def test_a_broken_policy_file_keeps_the_old_policy_and_says_so(
    gate: Gate, reloader: Reloader, tmp_path: Path
) -> None:
    before, epoch = gate.core.policy.revision, gate.core.standing.epoch
    (tmp_path / "data.yaml").write_text("version: 1\nroles: [\n")
    await reloader.policy.look()
    await reloader.policy.record(gate.core)
    assert (gate.core.policy.revision, gate.core.standing.epoch) == (before, epoch)
    assert "data.yaml" in str(reloader.policy.error)
    assert (await gate.ask()).state.value == "queued"


async def test_a_new_policy_file_counts_from_the_next_step(gate: Gate, reloader: Reloader, tmp_path: Path) -> None:
    operation = await gate.ask()
    before, epoch = gate.core.policy.revision, gate.core.standing.epoch
    path = tmp_path / "data.yaml"
    path.write_text(path.read_text().replace("questions: [list, request, plan, apply]\n", "questions: [list]\n"))
    await reloader.policy.look()
    await reloader.policy.record(gate.core)
    assert gate.core.policy.revision != before
    assert gate.core.standing.epoch == epoch + 1
    assert reloader.policy.error is None
    assert await gate.runner().poll() is None
    assert (await gate.operation(operation)).state.value == "denied"
    kinds = [entry.kind for entry in await gate.store.read(AuditEntries())]
    assert kinds.count("policy.loaded") == 2


async def test_a_broken_catalog_file_keeps_the_old_catalog_and_says_so(
    gate: Gate, reloader: Reloader, tmp_path: Path
) -> None:
    before, epoch = gate.core.catalog.current.revision, gate.core.standing.epoch
    (tmp_path / "catalog" / "all.yaml").write_text("kind: Nothing\n")
    await reloader.look()
    assert (gate.core.catalog.current.revision, gate.core.standing.epoch) == (before, epoch)
    assert reloader.catalog.last_error is not None
    (tmp_path / "catalog" / "all.yaml").write_text(CHANGED)
    await reloader.look()
    assert gate.core.catalog.current.revision != before
    assert gate.core.standing.epoch == epoch + 1
    assert reloader.catalog.last_error is None


async def test_many_callers_at_once_are_each_recorded_once(gate: Gate) -> None:
    operations = await asyncio.gather(*(gate.ask(agent(f"bot-{n}")) for n in range(50)))
    assert len({operation.id for operation in operations}) == 50
    entries = await gate.store.read(AuditEntries())
    assert [entry.seq for entry in entries] == list(range(len(entries)))


async def test_a_question_is_decided_as_one_by_the_policy_in_force(gate: Gate, reloader: Reloader) -> None:
    """What is told of the past is read for the engine that then decides: another policy is another object."""
    before = gate.core.engine
    assert before is gate.core.engine
    reloader.policy.source.forget()
    await reloader.policy.look()
    assert gate.core.engine is before, "the same policy again is no other"
    path = Path(reloader.policy.source.name)
    path.write_text(path.read_text() + "# another text\n")
    await reloader.policy.look()
    assert gate.core.engine is before, "nor is the same policy with another comment"
    path.write_text(path.read_text().replace("questions: [list, request, plan, apply]\n", "questions: [list]\n"))
    await reloader.policy.look()
    assert gate.core.engine is not before
