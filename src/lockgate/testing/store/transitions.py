# ruff: noqa: S101 - a contract suite asserts
"""What the store promises about transitions: compare-and-set of operations, attempts, locks and votes, all or nothing; it tests no provider's insides."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lockgate.contract.canonical import sha256
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.locks import LockState
from lockgate.gateway.operations.states import State
from lockgate.gateway.store import port
from lockgate.gateway.store.port import Conflict, Done, EpochMoved
from lockgate.testing.records import NOW, attempt, vote
from lockgate.testing.store.commands import admitted, changes, done, epoch_of, leased_attempt, moved, transition
from lockgate.testing.store.opening import Opening


class Transitions(Opening):
    """Compare-and-set of operations, attempts, locks and votes, all or nothing."""

    async def test_a_transition_replaces_the_operation(self, store: port.Store) -> None:
        made = await admitted(store, "op")
        after = moved(made, state=State.LEASED, fence=1)
        outcome = await store.commit(transition(after))
        assert isinstance(outcome, Done)
        assert outcome.operation == after
        assert await store.read(port.GetOperation("op")) == after

    async def test_of_many_transitions_from_one_version_exactly_one_wins(self, store: port.Store) -> None:
        made = await admitted(store, "op")
        outcomes = await asyncio.gather(*(store.commit(transition(moved(made, message=f"{n}"))) for n in range(50)))
        won = [outcome for outcome in outcomes if isinstance(outcome, Done)]
        assert len(won) == 1
        assert [outcome for outcome in outcomes if outcome not in won] == [Conflict("operation")] * 49
        assert await store.read(port.GetOperation("op")) == won[0].operation
        assert (await store.read(port.TreeHead())).size == 3

    async def test_a_version_that_does_not_count_up_is_refused(self, store: port.Store) -> None:
        made = await admitted(store, "op")
        for version, expected in ((1, 1), (3, 1), (2, None)):
            with pytest.raises(port.StoreError, match=r"operation\.version"):
                await store.commit(
                    replace(transition(made), operation=replace(made, version=version), expected_version=expected)
                )

    async def test_a_transition_under_another_epoch_changes_nothing(self, store: port.Store) -> None:
        made, epoch = await admitted(store, "op"), await epoch_of(store)
        assert await store.commit(replace(transition(moved(made)), epoch=epoch + 1)) == EpochMoved(epoch)
        assert isinstance(await store.commit(replace(transition(moved(made)), epoch=epoch)), Done)

    async def test_an_attempt_moves_only_from_the_expected_state_and_fence(self, store: port.Store) -> None:
        made = await admitted(store, "op")
        leased = attempt("a-1", "op")
        await done(store, replace(transition(moved(made)), attempts=(port.AttemptChange(leased, None),)))
        started = replace(leased, state=AttemptState.STARTED, started_at=NOW)
        for wrong in (
            port.AttemptChange(started, AttemptState.STARTED),
            port.AttemptChange(replace(started, fence=2), AttemptState.LEASED),
            port.AttemptChange(replace(started, id="a-2"), AttemptState.LEASED),
            port.AttemptChange(replace(started, runner="runner-2"), AttemptState.LEASED),
            port.AttemptChange(leased, None),
        ):
            assert await store.commit(changes(attempts=(wrong,))) == Conflict("attempt")
        assert await store.read(port.GetAttempt("a-1")) == leased
        await done(store, changes(attempts=(port.AttemptChange(started, AttemptState.LEASED),)))
        assert await store.read(port.GetAttempt("a-1")) == started
        assert await store.read(port.AttemptsOf("op")) == (started,)

    async def test_of_the_end_of_a_lease_and_its_prolonging_only_one_wins(self, store: port.Store) -> None:
        leased = await leased_attempt(store, "op", "a-1")
        kept = replace(leased, lease_until=leased.lease_until + 10)
        ended = replace(leased, state=AttemptState.UNPROVEN)
        state, until = leased.state, leased.lease_until
        await done(store, changes(attempts=(port.AttemptChange(kept, state, until),)))
        late = port.AttemptChange(ended, state, until)
        assert await store.commit(changes(attempts=(late,))) == Conflict("attempt")
        assert await store.read(port.GetAttempt("a-1")) == kept
        await done(store, changes(attempts=(replace(late, expected_lease_until=kept.lease_until),)))

    async def test_of_many_starts_of_one_attempt_exactly_one_wins(self, store: port.Store) -> None:
        leased = await leased_attempt(store, "op", "a-1")
        starts = [replace(leased, state=AttemptState.STARTED, permit_id=f"permit-{n}") for n in range(40)]
        outcomes = await asyncio.gather(
            *(store.commit(changes(attempts=(port.AttemptChange(item, AttemptState.LEASED),))) for item in starts)
        )
        assert sum(isinstance(outcome, Done) for outcome in outcomes) == 1
        assert sum(outcome == Conflict("attempt") for outcome in outcomes) == 39

    async def test_a_repeated_poll_finds_its_lease_and_cannot_get_a_second(self, store: port.Store) -> None:
        leased = await leased_attempt(store, "op", "a-1")
        assert await store.read(port.AttemptByPoll("runner-1", leased.poll_id)) == leased
        assert await store.read(port.AttemptByPoll("runner-2", leased.poll_id)) is None
        again = attempt("a-2", "op", fence=2, poll=leased.poll_id)
        assert await store.commit(changes(attempts=(port.AttemptChange(again, None),))) == Conflict("attempt")

    async def test_a_lock_moves_only_from_what_was_expected(self, store: port.Store) -> None:
        await leased_attempt(store, "op", "a-1")
        await leased_attempt(store, "op-2", "a-2")
        assert (await store.read(port.GetLock("web"))).state is LockState.FREE
        take = port.LockChange("web", LockState.FREE, None, LockState.HELD, "a-1")
        assert isinstance(await store.commit(changes(locks=(take,))), Done)
        assert await store.commit(changes(locks=(replace(take, attempt="a-2"),))) == Conflict("lock")
        wrong = port.LockChange("web", LockState.HELD, "a-2", LockState.FREE, None)
        assert await store.commit(changes(locks=(wrong,))) == Conflict("lock")
        held = await store.read(port.GetLock("web"))
        assert (held.state, held.attempt, held.since) == (LockState.HELD, "a-1", NOW)
        assert await store.read(port.ListLocks()) == (held,)
        await done(store, changes(locks=(replace(wrong, expected_attempt="a-1"),)))
        assert await store.read(port.ListLocks()) == ()

    async def test_a_precondition_that_fails_late_undoes_what_came_before(self, store: port.Store) -> None:
        made = await admitted(store, "op")
        head = await store.read(port.TreeHead())
        wrong = port.LockChange("web", LockState.HELD, "nobody", LockState.FREE, None)
        command = replace(
            transition(moved(made)), attempts=(port.AttemptChange(attempt("a-1", "op"), None),), locks=(wrong,)
        )
        assert await store.commit(command) == Conflict("lock")
        assert await store.read(port.GetOperation("op")) == made
        assert await store.read(port.GetAttempt("a-1")) is None
        assert await store.read(port.TreeHead()) == head

    async def test_a_vote_counts_once_until_it_expires_or_says_something_else(self, store: port.Store) -> None:
        await admitted(store, "op")
        cast = vote("op", expires_at=NOW + 10)
        await done(store, changes(votes=(cast,)))
        assert await store.commit(changes(votes=(cast,))) == Conflict("vote")
        no = replace(cast, verdict="reject")
        await done(store, changes(votes=(no,)))
        await done(store, replace(changes(votes=(cast,)), now=NOW + 10))
        assert await store.read(port.VotesOf("op")) == (cast, no, cast)

    async def test_evidence_is_kept_once_and_only_under_its_own_digest(self, store: port.Store) -> None:
        await admitted(store, "op")
        kept = port.EnvelopeRecord(sha256(b"{}"), "receipt", "op", None, b"{}")
        plan = port.PlanBytes(sha256(b"plan"), "op", b"plan")
        for _ in range(2):
            await done(store, changes(envelopes=(kept,), plans=(plan,)))
        assert await store.read(port.EnvelopesOf("op")) == (kept,)
        assert await store.read(port.GetPlanBytes("op", plan.semantic_sha256)) == b"plan"
        assert await store.read(port.GetPlanBytes("op", kept.sha256)) is None
        for wrong in (changes(envelopes=(replace(kept, envelope=b"x"),)), changes(plans=(replace(plan, data=b"x"),))):
            with pytest.raises(port.StoreError, match="digest"):
                await store.commit(wrong)
