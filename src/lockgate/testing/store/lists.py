# ruff: noqa: S101 - a contract suite asserts
"""What the store promises about its lists: order, pages, filters and turns; it tests no provider's insides."""

from __future__ import annotations

from dataclasses import replace

from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.model import Reason
from lockgate.gateway.operations.states import State
from lockgate.gateway.store import port
from lockgate.gateway.store.asked import AskedOperations
from lockgate.testing.records import NOW
from lockgate.testing.store.commands import admitted, changes, done, leased_attempt, moved, transition
from lockgate.testing.store.opening import Opening


class Lists(Opening):
    """Order, pages, filters and turns."""

    async def test_lists_are_newest_first_paged_and_filtered(self, store: port.Store) -> None:
        made = [await admitted(store, f"op-{n}", target=f"web-{n % 2}") for n in range(6)]
        await admitted(store, "foreign", tenant="other")
        newest = tuple(reversed(made))
        assert await store.read(port.ListOperations("default")) == newest
        assert await store.read(port.ListOperations("default", limit=2, before="op-4")) == newest[2:4]
        assert await store.read(port.ListOperations("default", target="web-1")) == newest[::2]
        assert await store.read(port.ListOperations("default", states=("leased", "running"))) == ()
        assert await store.read(port.ListOperations("default", principal="someone#else")) == ()
        assert await store.read(port.ListOperations("default", before="foreign")) == ()
        assert (
            await store.read(port.ListOperations("default", principal=made[0].principal.id, states=("queued",)))
            == newest
        )

    async def test_what_was_asked_is_told_newest_first_in_pages_with_how_it_ended(self, store: port.Store) -> None:
        reason = Reason("role", "Role", "No role of yours permits it.", "Ask for one.")
        first = await admitted(store, "first", intent={"arguments": {"a": 1, "b": 2}, "reason": "one"})
        await admitted(store, "again", intent={"arguments": {"b": 2, "a": 1}, "reason": "other"})
        await admitted(store, "denied", state=State.DENIED, phase=None, reasons=(reason,), action="other")
        await admitted(store, "foreign", tenant="other", created_at=NOW + 5)
        found = await store.read(AskedOperations())
        assert [item.at for item in found] == [NOW + 5, NOW, NOW, NOW]
        assert found == tuple(sorted(found, key=lambda item: -item.ordinal))
        own = await store.read(AskedOperations("default"))
        assert own == found[1:]
        assert (own[0].action, own[0].state, own[0].reasons) == ("other", "denied", (reason,))
        assert own[1].principal == first.principal.id
        # Words and keys may differ between two requests for the same; the order of names is no difference.
        assert own[1].request_sha256 == own[2].request_sha256 != own[0].request_sha256
        assert await store.read(AskedOperations("default", limit=2)) == own[:2]
        assert await store.read(AskedOperations("default", own[1].ordinal)) == own[2:]

    async def test_tenants_take_turns_in_the_queue(self, store: port.Store) -> None:
        for name, tenant in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("c1", "c"), ("b2", "b")):
            await admitted(store, name, tenant=tenant)
        await admitted(store, "far", tenant="a", region="elsewhere")
        queue = await store.read(port.QueuedOperations("local"))
        assert [item.id for item in queue] == ["a1", "b1", "c1", "a2", "b2", "a3"]
        assert [item.id for item in await store.read(port.QueuedOperations("local", limit=2))] == ["a1", "b1"]

    async def test_the_depth_counts_what_has_not_ended_of_all_tenants(self, store: port.Store) -> None:
        assert dict(await store.read(port.QueueDepth())) == {}
        await admitted(store, "a", tenant="a")
        await admitted(store, "b", tenant="b")
        ended = await admitted(store, "c", deadline=NOW + 100)
        await done(store, transition(moved(ended, state=State.EXPIRED)))
        assert dict(await store.read(port.QueueDepth())) == {"queued": 2}

    async def test_what_is_indeterminate_is_found_by_region_oldest_first(self, store: port.Store) -> None:
        await admitted(store, "queued")
        first = await admitted(store, "first", state=State.INDETERMINATE, phase=None)
        second = await admitted(store, "second", state=State.INDETERMINATE, phase=None)
        await admitted(store, "far", state=State.INDETERMINATE, phase=None, region="elsewhere")
        assert await store.read(port.IndeterminateOperations("local")) == (first, second)
        assert await store.read(port.IndeterminateOperations("local", limit=1)) == (first,)
        await done(store, transition(moved(first, state=State.FAILED)))
        assert await store.read(port.IndeterminateOperations("local")) == (second,)

    async def test_a_tenants_load_is_counted_no_further_than_asked(self, store: port.Store) -> None:
        for number in range(4):
            await admitted(store, f"op-{number}")
        await done(store, transition(moved(await admitted(store, "busy"), state=State.LEASED)))
        await admitted(store, "foreign", tenant="other")
        assert await store.read(port.TenantLoad("default")) == (4, 1)
        assert await store.read(port.TenantLoad("default", at_most=3)) == (3, 1)
        assert await store.read(port.TenantLoad("nobody")) == (0, 0)

    async def test_what_is_due_is_found_until_it_is_final(self, store: port.Store) -> None:
        late = await admitted(store, "late", deadline=NOW + 100)
        waits = await admitted(store, "waits", state=State.PENDING_APPROVAL, phase=None, approval_expires_at=NOW + 50)
        assert await store.read(port.DueOperations(NOW + 49)) == ()
        assert await store.read(port.DueOperations(NOW + 50)) == (waits,)
        assert await store.read(port.DueOperations(NOW + 100)) == (waits, late)
        await done(store, transition(moved(waits, state=State.EXPIRED)))
        assert await store.read(port.DueOperations(NOW + 100)) == (late,)

    async def test_live_attempts_are_those_without_an_end(self, store: port.Store) -> None:
        first = await leased_attempt(store, "op", "a-1")
        second = await leased_attempt(store, "op-2", "a-2", lease_until=NOW + 5)
        assert await store.read(port.LiveAttempts()) == (second, first)
        assert await store.read(port.LiveAttempts(NOW + 5)) == (second,)
        assert await store.read(port.LiveAttempts(NOW + 4)) == ()
        gone = replace(second, state=AttemptState.TORN_DOWN)
        await done(store, changes(attempts=(port.AttemptChange(gone, AttemptState.LEASED),)))
        assert await store.read(port.LiveAttempts()) == (first,)
