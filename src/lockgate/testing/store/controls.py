# ruff: noqa: S101 - a contract suite asserts
"""What the store promises about the epoch, revocations and freezes: each moves it, and a start does not get past one; it tests no provider's insides."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.store import port
from lockgate.gateway.store.port import Conflict, ControlKind, Done, EpochMoved
from lockgate.testing.records import NOW
from lockgate.testing.store.commands import admitted, changes, control, done, epoch_of, leased_attempt, trusting
from lockgate.testing.store.opening import Opening


class Controls(Opening):
    """Each moves it, and a start does not get past one."""

    @pytest.mark.parametrize("kind", [ControlKind.POLICY, ControlKind.CATALOG, ControlKind.KEYSET])
    async def test_a_new_revision_moves_the_epoch_and_the_same_again_changes_nothing(
        self, store: port.Store, kind: ControlKind
    ) -> None:
        before = await epoch_of(store)
        first = await done(store, control(kind, "r1"))
        assert first.epoch == before + 1 == await epoch_of(store)
        again = await done(store, control(kind, "r1"))
        assert (again.epoch, again.tree_size) == (first.epoch, first.tree_size)
        assert (await done(store, control(kind, "r2"))).epoch == before + 2

    async def test_a_revoked_token_or_principal_is_trusted_no_more(self, store: port.Store) -> None:
        await admitted(store, "op")
        old, new = (("t-1", "iss#ada", NOW),), (("t-2", "iss#ada", NOW + 1),)
        assert isinstance(await store.commit(trusting(old)), Done)
        before = await epoch_of(store)
        await done(store, control(ControlKind.REVOKE_PRINCIPAL, "iss#ada"))
        assert await store.commit(trusting(old)) == Conflict("trusted")
        assert isinstance(await store.commit(trusting(new)), Done)
        await done(store, control(ControlKind.REVOKE_TOKEN, "t-2"))
        assert await store.commit(trusting(new)) == Conflict("trusted")
        assert await epoch_of(store) == before + 2
        assert set(await store.read(port.Revocations())) == {
            port.Revocation("principal", "iss#ada", NOW),
            port.Revocation("token", "t-2", NOW),
        }
        assert (await done(store, control(ControlKind.REVOKE_TOKEN, "t-2"))).epoch == before + 2

    async def test_a_frozen_scope_is_trusted_again_only_once_it_is_lifted(self, store: port.Store) -> None:
        before = await epoch_of(store)
        await done(store, control(ControlKind.FREEZE, "tenant:default"))
        assert await store.read(port.Freezes()) == ("tenant:default",)
        assert await store.commit(trusting((), "*", "tenant:default")) == Conflict("trusted")
        assert isinstance(await store.commit(trusting((), "*", "target:web")), Done)
        await done(store, control(ControlKind.UNFREEZE, "tenant:default"))
        assert isinstance(await store.commit(trusting((), "*", "tenant:default")), Done)
        assert await epoch_of(store) == before + 2

    async def test_a_start_racing_a_freeze_is_refused_or_came_first(self, store: port.Store) -> None:
        leased = await leased_attempt(store, "op", "a-1")
        start = replace(
            changes(attempts=(port.AttemptChange(replace(leased, state=AttemptState.STARTED), AttemptState.LEASED),)),
            trusted=port.StillTrusted((), ("*",)),
            epoch=await epoch_of(store),
        )
        froze, started = await asyncio.gather(store.commit(control(ControlKind.FREEZE, "*")), store.commit(start))
        assert isinstance(froze, Done)
        if isinstance(started, Done):
            assert started.tree_size < froze.tree_size or started.epoch < froze.epoch
        else:
            assert started in (Conflict("trusted"), EpochMoved(froze.epoch))
