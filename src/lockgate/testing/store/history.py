# ruff: noqa: S101 - a contract suite asserts
"""What the store promises about history: one principal's latest operations, bounded, in one order; it tests no provider's insides."""

from __future__ import annotations

from dataclasses import replace

from lockgate.contract.intent import Principal
from lockgate.gateway.operations.model import Reason
from lockgate.gateway.operations.states import EffectShown, State
from lockgate.gateway.store import port
from lockgate.gateway.store.past import MAX_PAST
from lockgate.testing.records import NOW, principal
from lockgate.testing.store.commands import admitted, done, moved, transition
from lockgate.testing.store.opening import Opening

DENIED = Reason("role", "Not permitted", "None of the roles permits it.", "Ask.")


async def past(
    store: port.Store, since: int | None = 0, *, who: Principal | None = None, besides: str | None = None
) -> port.Past:
    """What `who` did after `since`."""
    who = who or principal()
    return await store.read(port.ReadPast(who.tenant, who.id, since, besides, ()))


async def names(store: port.Store, since: int = 0, **asked: object) -> list[str]:
    """The same, as ids."""
    return [one.operation for one in (await past(store, since, **asked)).operations]  # type: ignore[arg-type]


class History(Opening):
    """One principal's latest operations."""

    async def test_an_operation_is_told_as_it_is_once_it_was_answered(self, store: port.Store) -> None:
        await admitted(store, "op", state=State.DENIED, phase=None, effect_shown=EffectShown.NONE, reasons=(DENIED,))
        told = port.PastOperation("op", "service_restart", "change", "web-1", "denied", ("role",), NOW)
        assert await past(store) == port.Past((told,), None, ())

    async def test_the_newest_state_comes_first(self, store: port.Store) -> None:
        first = await admitted(store, "first")
        await admitted(store, "second", updated_at=NOW + 1)
        await admitted(store, "third", updated_at=NOW + 1)
        assert await names(store) == ["third", "second", "first"]
        await done(store, transition(moved(first, state=State.CANCELLED, phase=None, updated_at=NOW + 2)))
        assert await names(store) == ["first", "third", "second"]
        assert (await past(store)).operations[0].state == "cancelled"

    async def test_it_goes_back_as_far_as_asked_and_leaves_one_out(self, store: port.Store) -> None:
        for n in range(3):
            await admitted(store, f"op-{n}", updated_at=NOW + n)
        assert await names(store, NOW) == ["op-2", "op-1"]
        assert await names(store, NOW, besides="op-2") == ["op-1"]
        assert (await past(store, None)).operations == ()

    async def test_nobody_elses_operations_are_told(self, store: port.Store) -> None:
        acme = principal(tenant="acme")
        await admitted(store, "mine")
        await admitted(store, "others", principal=principal("other"))
        await admitted(store, "acmes", principal=acme, tenant="acme")
        await admitted(store, "namesakes", principal=replace(principal(), issuer="https://elsewhere.example"))
        assert await names(store) == ["mine"]
        assert await names(store, who=acme) == ["acmes"]

    async def test_it_is_bounded_and_says_where_it_was_cut(self, store: port.Store) -> None:
        for n in range(MAX_PAST):
            await admitted(store, f"op-{n}", updated_at=NOW + n)
        assert (await past(store)).cut_at is None
        await admitted(store, "one more", updated_at=NOW + MAX_PAST)
        told = await past(store)
        assert (len(told.operations), told.operations[-1].operation, told.cut_at) == (MAX_PAST, "op-1", NOW)

    async def test_the_same_store_tells_the_same(self, store: port.Store) -> None:
        for n in range(5):
            await admitted(store, f"op-{n}")
        assert await past(store) == await past(store)
