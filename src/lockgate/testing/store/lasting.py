# ruff: noqa: S101 - a contract suite asserts
"""What the store promises about readers of changes and about closing: all is heard of, and what was answered is there again; it tests no provider's insides."""

from __future__ import annotations

import asyncio

import pytest

from lockgate.contract.merkle import root_of
from lockgate.gateway.store import port
from lockgate.gateway.store.port import ControlKind, Done
from lockgate.testing.records import NOW, admit, operation
from lockgate.testing.store.commands import admitted, control, done, epoch_of, moved, transition
from lockgate.testing.store.opening import Opening, OpenStore


class Lasting(Opening):
    """All is heard of, and what was answered is there again."""

    async def test_every_reader_hears_what_was_touched_from_when_it_asked(self, store: port.Store) -> None:
        await admitted(store, "before")
        readers = [store.changes() for _ in range(3)]
        await admitted(store, "op")
        await done(store, control(ControlKind.FREEZE, "*"))
        for reader in readers:
            assert [await anext(reader), await anext(reader)] == [frozenset({"op"}), frozenset()]

    async def test_a_slow_reader_is_told_to_look_again(self, store: port.Store) -> None:
        reader, made = store.changes(), await admitted(store, "op")
        for _ in range(1000):
            made = moved(made)
            await done(store, transition(made))
        heard = [await anext(reader)]
        while heard[-1]:
            heard.append(await anext(reader))
        assert len(heard) <= 1000
        assert frozenset() in heard

    async def test_all_of_it_is_there_after_it_was_closed_and_opened(self, open_store: OpenStore) -> None:
        store = await open_store()
        made = await admitted(store, "op", scope="key")
        await done(store, control(ControlKind.FREEZE, "*"))
        epoch, head, entries = (
            await epoch_of(store),
            await store.read(port.TreeHead()),
            await store.read(port.AuditEntries()),
        )
        waiting = [asyncio.ensure_future(store.commit(admit(operation(f"late-{n}"), epoch=epoch))) for n in range(20)]
        await asyncio.sleep(0)
        await store.close()
        assert all(isinstance(outcome, Done) for outcome in await asyncio.gather(*waiting))
        with pytest.raises(port.StoreError):
            await store.read(port.GetEpoch())
        with pytest.raises(port.StoreError):
            await store.commit(port.Append((), NOW))
        again = await open_store()
        assert await again.read(port.FindIdempotent("key")) == made
        assert (await again.read(port.AuditEntries()))[: head.size] == entries
        assert await epoch_of(again) == epoch
        assert (await again.read(port.TreeHead())).size == head.size + 40
        assert root_of(await again.read(port.LeafHashes(0, head.size))) == head.root
        await again.close()
