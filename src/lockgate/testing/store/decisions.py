# ruff: noqa: S101 - a contract suite asserts
"""What the store promises about decisions: pages, inputs kept once, forgetting, kept policies; it tests no provider's insides."""

from __future__ import annotations

from dataclasses import replace

from lockgate.gateway.operations.inputs import KeptInput, keep_input
from lockgate.gateway.store import port
from lockgate.testing.records import NOW, decision
from lockgate.testing.store.commands import admitted, done
from lockgate.testing.store.opening import Opening

PLAN = {"resource_changes": [{"address": f"null_resource.a[{index}]"} for index in range(500)]}
DOCUMENT = {"action": None, "arguments": {"plan": {"plan": 1}}, "plan": PLAN, "question": "plan", "version": 1}


class DecisionLists(Opening):
    """Pages of decisions, and what is forgotten of them."""

    async def test_decisions_are_paged_in_the_order_of_their_time(self, store: port.Store) -> None:
        await admitted(store, "op")
        made = [
            decision(f"d{n}", None, NOW + n // 2, allow=n % 3 > 0, question="view" if n > 4 else "plan")
            for n in range(1, 9)
        ]
        await done(store, port.Append((), NOW, tuple(made[4:] + made[:4])))
        every = port.Decisions(since=NOW, questions=("view", "plan"), limit=3)
        found: list[str] = []
        while page := await store.read(replace(every, after=found[-1] if found else None)):
            found += [item.id for item in page]
        assert sorted(found) == [item.id for item in made]
        assert [item.at for item in await store.read(replace(every, limit=200))] == [item.at for item in made]
        newest = await store.read(replace(every, newest=True, limit=200))
        assert [item.id for item in newest] == found[::-1]
        ids = {item.id for item in await store.read(port.Decisions(since=NOW + 2, until=NOW + 3))}
        assert ids == {"d4", "d5"}
        assert {item.id for item in await store.read(port.Decisions(allow=False))} == {"d3", "d6"}
        assert len(await store.read(port.Decisions(operation="op"))) == 1
        assert await store.read(port.Decisions(tenant="other")) == ()
        assert await store.read(port.Decisions(after="never")) == ()

    async def test_a_plan_in_several_inputs_is_kept_once_and_comes_back_to_the_byte(self, store: port.Store) -> None:
        kept, other = keep_input(DOCUMENT), keep_input({**DOCUMENT, "question": "apply"})
        made = tuple(decision(name, None, input=item) for name, item in (("one", kept), ("two", other)))
        await done(store, port.Append((), NOW, made))
        found = await store.read(port.Decisions())
        assert found == made
        assert kept.part is not None and kept.part == other.part
        assert [item.input.data() for item in found if item.input] == [kept.data(), other.data()]
        assert [item.input for item in await store.read(port.Decisions(inputs=False))] == [None, None]

    async def test_inputs_are_forgotten_before_records_and_the_log_stays(self, store: port.Store) -> None:
        await admitted(store, "op")
        shared = keep_input(DOCUMENT)
        old = [decision(f"old-{n}", None, NOW - 10, input=shared) for n in range(5)]
        await done(store, port.Append((), NOW, (*old, decision("young", None, NOW + 5, input=shared))))
        before = await store.read(port.TreeHead())
        assert await store.read(port.OldestKept()) == (NOW - 10, NOW - 10)
        for _ in range(3):
            await done(store, port.Forget(NOW, 0, limit=2))
        found = {item.id: item.input for item in await store.read(port.Decisions())}
        assert {name for name, kept in found.items() if kept is None} == {item.id for item in old}
        young = found["young"]
        assert young is not None and young.data() == shared.data()
        assert await store.read(port.OldestKept()) == (NOW, NOW - 10)
        await done(store, port.Forget(NOW, NOW, limit=200))
        assert [item.id for item in await store.read(port.Decisions())] == ["decision-op", "young"]
        assert await store.read(port.GetDecision("old-1")) is None
        assert await store.read(port.TreeHead()) == before

    async def test_a_shared_plan_goes_with_the_last_input_that_needs_it(self, store: port.Store) -> None:
        await done(store, port.Append((), NOW, (decision("one", None, NOW, input=keep_input(DOCUMENT)),)))
        await done(store, port.Forget(NOW + 1, 0))
        again = decision("two", None, NOW + 2, input=keep_input(DOCUMENT))
        await done(store, port.Append((), NOW, (again,)))
        assert await store.read(port.GetDecision("two")) == again

    async def test_pointers_to_what_was_left_out_are_kept(self, store: port.Store) -> None:
        made = decision("one", None, hidden=("/reason",), masked=("/arguments/a~1b",))
        await done(store, port.Append((), NOW, (made,)))
        assert await store.read(port.GetDecision("one")) == made

    async def test_policies_are_kept_by_revision_and_bounded(self, store: port.Store) -> None:
        for number in range(4):
            await done(store, port.KeepBundle(f"r{number}", b"%d" % number, NOW + number, most=3))
        await done(store, port.KeepBundle("r1", b"1", NOW + 9, most=3))
        await done(store, port.KeepBundle("r4", b"4", NOW + 9, most=3))
        kept = [await store.read(port.GetBundle(f"r{number}")) for number in range(5)]
        assert kept == [None, b"1", None, b"3", b"4"]

    async def test_a_decision_without_an_input_any_more_says_so(self, store: port.Store) -> None:
        made = decision("one", None, input=None)
        await done(store, port.Append((), NOW, (made, decision("two", None, input=KeptInput(b"{}")))))
        assert await store.read(port.GetDecision("one")) == made
