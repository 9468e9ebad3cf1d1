# ruff: noqa: S101 - a contract suite asserts
"""What the store promises about budgets: sums of what counts, and claims that hold inside the transaction; it tests no provider's insides."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from lockgate.contract.intent import Effect, Phase, PrincipalKind
from lockgate.gateway.operations.model import Operation, PlanRecord
from lockgate.gateway.operations.states import EffectShown, State
from lockgate.gateway.store import port
from lockgate.gateway.store.past import MAX_USED
from lockgate.gateway.store.port import Claim, Done, Overdrawn, Scope, Sum, Used
from lockgate.policy.needs import Counts, Per
from lockgate.testing.records import DIGEST, NOW, admit, operation, principal
from lockgate.testing.store.commands import done, epoch_of, moved, transition
from lockgate.testing.store.opening import Opening, OpenStore

HOUR = 3_600_000
MINE = Scope("default", principal=principal().id)
ADA = "https://issuer.example#ada"


def plan(create: int = 0, update: int = 0, delete: int = 0, replaced: int = 0) -> PlanRecord:
    """A plan with these numbers of changes."""
    digests = (DIGEST,) * 4
    return PlanRecord(*digests, "exact", (), create, update, delete, replaced, DIGEST, NOW, "op")


def total(
    scope: Scope = MINE, counts: Counts = Counts.OPERATIONS, *, now: int = NOW, besides: str | None = None
) -> Sum:
    """What counts at `now` with a window of an hour."""
    return Sum(scope, counts, now, HOUR, besides)


async def told(store: port.Store, *sums: Sum, asked: int = 0, limit: int = 1_000_000) -> tuple[Used, ...]:
    """The answers for these sums."""
    asking = tuple(port.Asking(one, asked, limit) for one in sums)
    return (await store.read(port.ReadPast("default", principal().id, None, None, asking))).used


async def used(store: port.Store, *sums: Sum) -> tuple[int, ...]:
    """What is used of these sums."""
    return tuple(one.used for one in await told(store, *(sums or (total(),))))


async def spending(store: port.Store, name: str, **fields: Any) -> Operation:
    """A recorded operation that counts."""
    made = operation(name, **fields)
    await done(store, replace(admit(made, epoch=await epoch_of(store)), spends=True))
    return made


async def ended(store: port.Store, made: Operation, shown: EffectShown, at: int = NOW, **fields: Any) -> Operation:
    """The operation after its end at `at`."""
    states = {EffectShown.FULL: State.SUCCEEDED}
    after = moved(made, state=states.get(shown, State.FAILED), phase=None, effect_shown=shown, updated_at=at, **fields)
    await done(store, transition(after))
    return after


def claim(limit: int, *, asked: int = 1, counts: Counts = Counts.OPERATIONS, besides: str | None = None) -> Claim:
    """A claim on what this principal may do in an hour."""
    return Claim("hourly", total(counts=counts, besides=besides), asked, limit)


class Budgets(Opening):
    """What operations use, and what may be claimed of it."""

    async def test_an_operation_counts_from_the_command_that_says_so(self, store: port.Store) -> None:
        await done(store, admit(operation("silent"), epoch=await epoch_of(store)))
        assert await used(store) == (0,)
        await spending(store, "op")
        assert await used(store) == (1,)
        silent = moved(operation("silent"), state=State.LEASED)
        await done(store, replace(transition(silent), spends=True))
        assert await used(store) == (2,)

    async def test_reads_and_dry_runs_never_count(self, store: port.Store) -> None:
        await spending(store, "read", effect=Effect.READ, phase=Phase.READ)
        await spending(store, "dry", dry_run=True)
        assert await used(store) == (0,)

    async def test_many_admitted_in_one_batch_all_count(self, store: port.Store) -> None:
        epoch = await epoch_of(store)
        made = [operation(f"op-{n}", principal=principal(f"agent-{n}"), target=f"web-{n}") for n in range(100)]
        commands = [replace(admit(one, epoch=epoch), spends=n % 3 > 0) for n, one in enumerate(made)]
        await asyncio.gather(*map(store.commit, commands))
        scopes = [Scope("default", principal=one.principal.id, targets=(one.target,)) for one in made]
        assert await used(store, *map(total, scopes)) == tuple(int(n % 3 > 0) for n in range(100))
        await ended(store, made[50], EffectShown.NONE)
        await ended(store, made[52], EffectShown.FULL)
        assert await used(store, *map(total, scopes[50:53])) == (0, 0, 1)

    async def test_what_the_plan_says_counts_once_a_command_says_so(self, store: port.Store) -> None:
        made = await spending(store, "op")
        kinds = [total(counts=counts) for counts in Counts]
        assert await used(store, *kinds) == (1, 0, 0, 0)
        planned = moved(made, plan=plan(create=3, update=2, delete=1, replaced=1))
        await done(store, transition(planned))
        assert await used(store, *kinds) == (1, 0, 0, 0)
        again = moved(planned)
        await done(store, replace(transition(again), spends=True))
        assert await used(store, *kinds) == (1, 7, 2, 3 * 1 + 2 * 5 + 1 * 10 + 1 * 11)
        less = moved(again, plan=plan(update=1))
        await done(store, replace(transition(less), spends=True))
        assert await used(store, *kinds) == (1, 1, 0, 5)

    @pytest.mark.parametrize("shown", [EffectShown.FULL, EffectShown.PARTIAL, EffectShown.UNKNOWN])
    async def test_what_changed_something_counts_for_a_window_after_its_end(
        self, store: port.Store, shown: EffectShown
    ) -> None:
        made = await spending(store, "op", plan=plan(update=4))
        await ended(store, made, shown, NOW + 5_000)
        times = [NOW, NOW + 5_000, NOW + 5_000 + HOUR - 1, NOW + 5_000 + HOUR, NOW + 10 * HOUR]
        assert await used(store, *(total(counts=Counts.CHANGES, now=at) for at in times)) == (4, 4, 4, 0, 0)

    @pytest.mark.parametrize(
        "state", [State.DENIED, State.CANCELLED, State.EXPIRED, State.FAILED, State.SUCCEEDED, State.PLANNED]
    )
    async def test_what_ended_without_a_change_counts_no_more(self, store: port.Store, state: State) -> None:
        made = await spending(store, "op", plan=plan(update=4))
        await done(store, transition(moved(made, state=state, phase=None, effect_shown=EffectShown.NONE)))
        assert await used(store, total(), total(counts=Counts.CHANGES)) == (0, 0)

    async def test_what_is_under_way_or_unknown_counts_however_old_it_is(self, store: port.Store) -> None:
        await spending(store, "waiting", state=State.PENDING_APPROVAL, phase=None)
        made = await spending(store, "unknown")
        lost = moved(made, state=State.INDETERMINATE, phase=None, effect_shown=EffectShown.UNKNOWN)
        await done(store, transition(lost))
        assert await used(store, total(now=NOW + 1000 * HOUR)) == (2,)

    async def test_with_the_clock_stepped_back_nothing_is_freed(self, store: port.Store) -> None:
        made = await spending(store, "op")
        await ended(store, made, EffectShown.FULL, NOW - 2 * HOUR)
        at = [NOW - 3 * HOUR, NOW, NOW + HOUR - 1, NOW + HOUR]
        assert await used(store, *(total(now=one) for one in at)) == (1, 1, 1, 0)

    async def test_sums_are_of_who_and_what_they_name(self, store: port.Store) -> None:
        bot, other = principal("bot"), principal("other")
        await spending(store, "a", principal=bot, target="web-1")
        await spending(store, "b", principal=bot, target="web-2")
        await spending(store, "c", principal=other, target="web-1")
        await spending(store, "d", principal=principal("bot", tenant="acme"), tenant="acme", target="web-1")
        sums = {
            Scope("default", principal=bot.id): 2,
            Scope("default", principal=bot.id, targets=("web-1", "web-3")): 1,
            Scope("default", targets=("web-1",)): 2,
            Scope("default", targets=("web-1", "web-2")): 3,
            Scope("default", targets=()): 0,
            Scope("default"): 3,
            Scope("acme"): 1,
            Scope("acme", principal=bot.id): 1,
            Scope("acme", principal=other.id): 0,
        }
        assert dict(zip(sums, await used(store, *map(total, sums)), strict=True)) == sums

    async def test_everyone_with_a_same_human_behind_them_is_added_up_once(self, store: port.Store) -> None:
        bob = "https://issuer.example#bob"
        both = replace(principal("both"), owner=ADA, on_behalf_of=bob)
        ada = replace(principal("ada", PrincipalKind.HUMAN), on_behalf_of=None)
        nobodys = replace(principal("nobodys"), on_behalf_of=None)
        for who in (principal("one"), principal("two"), replace(both, subject="third"), both, ada, nobodys):
            await spending(store, who.subject, principal=who)
        sums = {
            Scope("default", humans=(ADA,)): 5,
            Scope("default", humans=(ADA, bob)): 5,
            Scope("default", humans=(bob,)): 2,
            Scope("default", humans=(nobodys.id,)): 1,
            Scope("default", humans=(bob,), targets=("web-2",)): 0,
            Scope("acme", humans=(ADA,)): 0,
        }
        assert dict(zip(sums, await used(store, *map(total, sums)), strict=True)) == sums

    async def test_of_many_claims_at_once_exactly_as_many_hold_as_there_is_room_for(self, store: port.Store) -> None:
        epoch = await epoch_of(store)
        commands = [
            replace(admit(operation(f"op-{n}"), epoch=epoch), claims=(claim(5),), spends=True) for n in range(50)
        ]
        outcomes = await asyncio.gather(*map(store.commit, commands))
        assert [outcome for outcome in outcomes if not isinstance(outcome, Done)] == [Overdrawn("hourly")] * 45
        assert await used(store) == (5,)
        assert (await store.read(port.TreeHead())).size == 2 * 5
        kept = [await store.read(port.GetOperation(f"op-{n}")) is not None for n in range(50)]
        assert kept == [isinstance(outcome, Done) for outcome in outcomes]

    async def test_a_transition_whose_claim_does_not_hold_changes_nothing(self, store: port.Store) -> None:
        made, _ = await spending(store, "op"), await spending(store, "other")
        after = moved(made, plan=plan(delete=3))
        head = await store.read(port.TreeHead())
        mine = claim(3, asked=3, counts=Counts.DESTROYS, besides="op")
        two = (claim(9, besides="op"), replace(claim(1, besides="op"), budget="few"))
        assert await store.commit(replace(transition(after), spends=True, claims=two)) == Overdrawn("few")
        assert await store.read(port.GetOperation("op")) == made
        assert await store.read(port.TreeHead()) == head
        assert isinstance(await store.commit(replace(transition(after), spends=True, claims=(mine,))), Done)

    async def test_an_operations_own_use_is_not_in_its_way(self, store: port.Store) -> None:
        made = await spending(store, "op", plan=plan(update=5))
        mine = claim(5, asked=5, counts=Counts.CHANGES, besides="op")
        assert isinstance(await store.commit(replace(transition(moved(made)), spends=True, claims=(mine,))), Done)

    async def test_it_is_told_when_enough_is_free(self, store: port.Store) -> None:
        for minute, changes in enumerate((5, 3, 2)):
            made = await spending(store, f"op-{minute}", plan=plan(update=changes))
            await ended(store, made, EffectShown.FULL, NOW + minute * 60_000)
        now = total(counts=Counts.CHANGES, now=NOW + 180_000)
        frees = [(await told(store, now, asked=asked, limit=10))[0].free_at for asked in (0, 1, 5, 6, 9, 10, 11)]
        at = [NOW + HOUR + minute * 60_000 for minute in range(3)]
        assert frees == [None, at[0], at[0], at[1], at[2], at[2], None]
        await spending(store, "running", plan=plan(update=6))
        frees = [(await told(store, now, asked=asked, limit=10))[0].free_at for asked in (1, 4, 5)]
        assert frees == [at[1], at[2], None]

    async def test_a_sum_beyond_all_bounds_is_the_greatest_there_is(self, store: port.Store) -> None:
        for n in range(3):
            await spending(store, f"op-{n}", plan=plan(delete=MAX_USED // 2))
        assert await used(store, total(counts=Counts.WEIGHT), total()) == (MAX_USED, 3)

    async def test_what_counts_is_the_same_after_the_store_was_opened_again(self, open_store: OpenStore) -> None:
        store = await open_store()
        made = await spending(store, "op", plan=plan(update=2))
        await ended(store, made, EffectShown.PARTIAL)
        await spending(store, "running")
        await store.close()
        store = await open_store()
        assert await used(store, total(), total(counts=Counts.CHANGES)) == (2, 2)
        await store.close()

    async def test_those_who_use_most_are_told_first(self, store: port.Store) -> None:
        both = replace(principal("both"), owner="https://issuer.example#zoe")
        for who, target in ((both, "web-1"), (both, "web-2"), (principal("a"), "web-2"), (principal("b"), "web-3")):
            await spending(store, f"{who.subject} {target}", principal=who, target=target, plan=plan(update=2))
        gone = await spending(store, "gone", principal=principal("gone"))
        await ended(store, gone, EffectShown.FULL, NOW - HOUR)
        most = {
            (Per.PRINCIPAL, None): ((both.id, 4), (principal("a").id, 2), (principal("b").id, 2)),
            (Per.OWNER, None): ((ADA, 8), ("https://issuer.example#zoe", 4)),
            (Per.TARGET, None): (("web-2", 4), ("web-1", 2), ("web-3", 2)),
            (Per.TENANT, ("web-1", "web-2")): (("default", 6),),
        }
        for (per, targets), shares in most.items():
            asked = port.UsedMost("default", per, Counts.CHANGES, NOW, HOUR, targets)
            assert await store.read(asked) == shares
            assert await store.read(replace(asked, tenant="acme")) == ()
