# ruff: noqa: S101 - a contract suite asserts
"""What the store promises about its audit log: no gap, proofs that verify, bounds, and refusals that stay alone; it tests no provider's insides."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lockgate.contract.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from lockgate.gateway.audit.entries import EntryKind, Head
from lockgate.gateway.store import port
from lockgate.gateway.store.port import Admit, Done
from lockgate.testing.records import NOW, admit, decision, entry, operation
from lockgate.testing.store.commands import admitted, done, epoch_of
from lockgate.testing.store.opening import Opening


class Audit(Opening):
    """No gap, proofs that verify, bounds, and refusals that stay alone."""

    async def test_entries_are_numbered_without_a_gap_and_hash_to_the_head(self, store: port.Store) -> None:
        await asyncio.gather(*(admitted(store, f"op-{n}") for n in range(20)))
        await done(
            store, port.Append((entry(None, EntryKind.PLAN_VIEWED, plan="p", when=1.5, deep={"ä": [None, True]}),), NOW)
        )
        entries = await store.read(port.AuditEntries())
        head = await store.read(port.TreeHead())
        assert [item.seq for item in entries] == list(range(41))
        leaves = tuple(leaf_hash(item.leaf_bytes()) for item in entries)
        assert head == Head(41, root_of(leaves))
        assert await store.read(port.LeafHashes(0, 41)) == leaves
        assert await store.read(port.LeafHashes(3, 5)) == leaves[3:5]
        assert entries[40].body == {"plan": "p", "when": 1.5, "deep": {"ä": [None, True]}}
        assert [item.operation for item in await store.read(port.AuditEntries(operation="op-3"))] == ["op-3"] * 2
        assert await store.read(port.AuditEntries(tenant="default")) == entries[:40]
        assert await store.read(port.AuditEntries(tenant="other")) == ()
        assert await store.read(port.AuditEntries(since=40)) == entries[40:]
        with pytest.raises(port.StoreError, match="fewer"):
            await store.read(port.LeafHashes(0, 42))

    async def test_proofs_verify_also_across_stored_nodes(self, store: port.Store) -> None:
        roots: dict[int, bytes] = {}
        for size in (1, 255, 256, 257, 700, 1100):
            have = (await store.read(port.TreeHead())).size
            await done(store, port.Append(tuple(entry(None, number=n) for n in range(have, size)), NOW))
            roots[size] = (await store.read(port.TreeHead())).root
        leaves = await store.read(port.LeafHashes(0, 1100))
        for old, old_root in roots.items():
            for new, new_root in roots.items():
                if old <= new:
                    verify_consistency(old, new, old_root, new_root, await store.read(port.ConsistencyProof(old, new)))
            path = await store.read(port.InclusionProof(old - 1, 1100))
            verify_inclusion(leaves[old - 1], old - 1, 1100, path, roots[1100])
        for wrong in (port.ConsistencyProof(2, 1), port.ConsistencyProof(1, 5000), port.InclusionProof(1100, 1100)):
            with pytest.raises(port.StoreError):
                await store.read(wrong)

    async def test_a_body_over_64_kib_is_refused_before_anything_is_written(self, store: port.Store) -> None:
        most = (64 << 10) - len('{"text":""}')
        await done(store, port.Append((entry(text="x" * most),), NOW))
        with pytest.raises(port.StoreError, match=r"entries\[1\].*65537 bytes"):
            await store.commit(port.Append((entry(), entry(text="x" * (most + 1))), NOW))
        with pytest.raises(port.StoreError, match=r"entries\[0\]"):
            await store.commit(port.Append((entry(number=float("nan")),), NOW))
        with pytest.raises(port.StoreError, match=r"entries\[0\]"):
            await store.commit(port.Append((entry(of="\ud800"),), NOW))
        assert (await store.read(port.TreeHead())).size == 1

    async def test_what_cannot_be_stored_is_refused_alone(self, store: port.Store) -> None:
        epoch = await epoch_of(store)
        bad: list[Admit] = [
            admit(operation("big", deadline=2**70), epoch=epoch),
            admit(operation("odd", message="\ud800"), epoch=epoch),
            admit(operation("wide", deadline=2**63), epoch=epoch),
            replace(admit(operation("clash"), epoch=epoch), decision=decision("decision-good", "clash")),
            replace(admit(operation("orphan"), epoch=epoch), decision=decision("d", "no such operation")),
        ]
        outcomes = await asyncio.gather(
            *(store.commit(item) for item in [admit(operation("good"), epoch=epoch), *bad]), return_exceptions=True
        )
        assert isinstance(outcomes[0], Done)
        assert all(isinstance(item, port.StoreError) for item in outcomes[1:]), outcomes
        assert [item.id for item in await store.read(port.ListOperations("default"))] == ["good"]
        await admitted(store, "afterwards")
