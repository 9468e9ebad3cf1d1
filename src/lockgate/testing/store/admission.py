# ruff: noqa: S101 - a contract suite asserts
"""What the store promises about admissions: one operation per idempotency scope, under the epoch it was decided in; it tests no provider's insides."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from lockgate.gateway.store import port
from lockgate.gateway.store.port import Conflict, Done, EpochMoved, Existing
from lockgate.testing.records import admit, decision, operation
from lockgate.testing.store.commands import admitted, epoch_of
from lockgate.testing.store.opening import Opening


class Admission(Opening):
    """One operation per idempotency scope, under the epoch it was decided in."""

    async def test_an_admitted_operation_is_read_back_field_for_field(self, store: port.Store) -> None:
        made = await admitted(store, "op", scope="key")
        assert await store.read(port.GetOperation("op")) == made
        assert await store.read(port.FindIdempotent("key")) == made
        assert await store.read(port.GetDecision(made.decision)) == decision(made.decision, "op")
        assert await store.read(port.DecisionsOf("op")) == (decision(made.decision, "op"),)
        assert await store.read(port.GetOperation("other")) is None
        assert await store.read(port.FindIdempotent("other")) is None

    async def test_a_taken_scope_answers_the_first_operation_and_writes_nothing(self, store: port.Store) -> None:
        first = await admitted(store, "first", scope="key")
        head = await store.read(port.TreeHead())
        outcome = await store.commit(admit(operation("second"), scope="key", epoch=await epoch_of(store)))
        assert outcome == Existing(first)
        assert await store.read(port.GetOperation("second")) is None
        assert await store.read(port.TreeHead()) == head

    async def test_a_taken_scope_is_answered_also_when_the_epoch_moved(self, store: port.Store) -> None:
        first = await admitted(store, "first", scope="key")
        assert await store.commit(admit(operation("second"), scope="key", epoch=999)) == Existing(first)

    async def test_an_admission_decided_under_another_epoch_writes_nothing(self, store: port.Store) -> None:
        epoch, head = await epoch_of(store), await store.read(port.TreeHead())
        assert await store.commit(admit(operation("op"), scope="key", epoch=epoch + 1)) == EpochMoved(epoch)
        assert await store.read(port.GetOperation("op")) is None
        assert await store.read(port.FindIdempotent("key")) is None
        assert await store.read(port.TreeHead()) == head

    async def test_of_many_with_one_scope_exactly_one_is_recorded(self, store: port.Store) -> None:
        epoch = await epoch_of(store)
        outcomes = await asyncio.gather(
            *(store.commit(admit(operation(f"op-{n}"), scope="key", epoch=epoch)) for n in range(64))
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, Done)]
        assert len(won) == 1
        assert won[0].operation is not None
        assert all(outcome == Existing(won[0].operation) for outcome in outcomes if outcome is not won[0])
        assert (await store.read(port.TreeHead())).size == 2

    async def test_in_one_batch_a_refused_command_leaves_the_others_alone(self, store: port.Store) -> None:
        epoch = await epoch_of(store)
        commands = [admit(operation(f"op-{n % 12}"), epoch=epoch if n % 3 else epoch + 1) for n in range(24)]
        outcomes = await asyncio.gather(*(store.commit(item) for item in commands))
        recorded = [outcome for outcome in outcomes if isinstance(outcome, Done)]
        assert len(recorded) == 8
        assert sum(outcome == Conflict("operation") for outcome in outcomes) == 8
        assert sum(outcome == EpochMoved(epoch) for outcome in outcomes) == 8
        assert (await store.read(port.TreeHead())).size == 16 == max(outcome.tree_size for outcome in recorded)

    async def test_every_decision_of_every_admission_of_a_batch_is_kept(self, store: port.Store) -> None:
        epoch = await epoch_of(store)
        commands = [
            replace(admit(operation(f"op-{n}"), epoch=epoch), further_decisions=(decision(f"plan-{n}", f"op-{n}"),))
            for n in range(8)
        ]
        await asyncio.gather(*map(store.commit, commands))
        for n in range(8):
            kept = await store.read(port.DecisionsOf(f"op-{n}"))
            assert [record.id for record in kept] == [f"decision-op-{n}", f"plan-{n}"]
