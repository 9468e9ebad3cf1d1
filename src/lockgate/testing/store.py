# ruff: noqa: S101 - a contract suite asserts
"""The contract suite of the Store port: subclass it, give it a store, run it. It tests the port's promises, no provider's insides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
import pytest_asyncio

from lockgate.contract.canonical import sha256
from lockgate.contract.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from lockgate.gateway.audit.entries import EntryKind, Head
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.locks import LockState
from lockgate.gateway.operations.model import Attempt, Operation, Vote
from lockgate.gateway.operations.states import State
from lockgate.gateway.store import port
from lockgate.gateway.store.port import Admit, Conflict, Control, ControlKind, Done, EpochMoved, Existing, Transition
from lockgate.testing.records import NOW, admit, attempt, decision, entry, operation, vote

OpenStore = Callable[[], Awaitable[port.Store]]


class StoreContract:
    """Provide the fixture `open_store`: a function that opens the same, at first empty, store again and again (the earlier one closed)."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """To be overridden."""
        raise NotImplementedError

    @pytest_asyncio.fixture
    async def store(self, open_store: OpenStore) -> AsyncIterator[port.Store]:
        """An open, migrated, empty store."""
        made = await open_store()
        yield made
        await made.close()

    # --- admit ---

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
        done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
        assert len(done) == 8
        assert sum(outcome == Conflict("operation") for outcome in outcomes) == 8
        assert sum(outcome == EpochMoved(epoch) for outcome in outcomes) == 8
        assert (await store.read(port.TreeHead())).size == 16 == max(outcome.tree_size for outcome in done)

    # --- transitions ---

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

    # --- epoch, revocations, freezes ---

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

    # --- lists ---

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

    async def test_tenants_take_turns_in_the_queue(self, store: port.Store) -> None:
        for name, tenant in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("c1", "c"), ("b2", "b")):
            await admitted(store, name, tenant=tenant)
        await admitted(store, "far", tenant="a", region="elsewhere")
        queue = await store.read(port.QueuedOperations("local"))
        assert [item.id for item in queue] == ["a1", "b1", "c1", "a2", "b2", "a3"]
        assert [item.id for item in await store.read(port.QueuedOperations("local", limit=2))] == ["a1", "b1"]

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

    # --- audit ---

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

    # --- changes, closing ---

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


async def epoch_of(store: port.Store) -> int:
    """The epoch that stands."""
    return await store.read(port.GetEpoch())


async def done(store: port.Store, command: port.Command) -> Done:
    """Commit what must succeed."""
    outcome = await store.commit(command)
    assert isinstance(outcome, Done), outcome
    return outcome


async def admitted(store: port.Store, name: str, *, scope: str | None = None, **fields: object) -> Operation:
    """A recorded operation."""
    made = operation(name, **fields)
    await done(store, admit(made, scope=scope, epoch=await epoch_of(store)))
    return made


async def leased_attempt(store: port.Store, of: str, name: str, **fields: object) -> Attempt:
    """A recorded operation's attempt, just leased."""
    await admitted(store, of)
    made = attempt(name, of, **fields)  # type: ignore[arg-type]
    await done(store, changes(attempts=(port.AttemptChange(made, None),)))
    return made


def moved(made: Operation, **fields: object) -> Operation:
    """The operation's next version."""
    return replace(made, version=made.version + 1, **fields)  # type: ignore[arg-type]


def transition(after: Operation) -> Transition:
    """The command that puts `after` in the place of its predecessor."""
    return Transition(NOW, (entry(after.id, EntryKind.OPERATION_MOVED),), after, after.version - 1)


def changes(
    *,
    attempts: tuple[port.AttemptChange, ...] = (),
    locks: tuple[port.LockChange, ...] = (),
    votes: tuple[Vote, ...] = (),
    envelopes: tuple[port.EnvelopeRecord, ...] = (),
    plans: tuple[port.PlanBytes, ...] = (),
) -> Transition:
    """A transition of everything but the operation."""
    made = Transition(NOW, (entry(None, EntryKind.OPERATION_MOVED),), attempts=attempts, locks=locks, votes=votes)
    return replace(made, envelopes=envelopes, plans=plans)


def control(kind: ControlKind, subject: str) -> Control:
    """A control command with an entry."""
    return Control(kind, subject, (entry(None, EntryKind.FREEZE_SET, subject=subject),), NOW)


def trusting(tokens: tuple[tuple[str, str, int], ...], *scopes: str) -> Transition:
    """A transition that holds only while these are trusted."""
    return replace(changes(), trusted=port.StillTrusted(tokens, scopes))
