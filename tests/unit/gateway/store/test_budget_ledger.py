"""Of budgets in the SQLite store: a model of every sum, kill -9 between a claim and its use, and stores from before there was a ledger."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from lockgate.contract.codec import to_document
from lockgate.contract.intent import Effect, PrincipalKind
from lockgate.gateway.operations.model import Operation, Reason
from lockgate.gateway.operations.spending import amounts_of, humans_behind
from lockgate.gateway.operations.states import EffectShown, State
from lockgate.gateway.store.past import Asking
from lockgate.gateway.store.port import (
    Claim,
    Done,
    GetEpoch,
    GetOperation,
    Overdrawn,
    PastOperation,
    ReadPast,
    Scope,
    StoreLocked,
    Sum,
)
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.gateway.store.sqlite.connection import open_writer
from lockgate.gateway.store.sqlite.schema import migrate, migrations
from lockgate.policy.needs import Counts
from lockgate.testing.records import NOW, admit, operation, principal
from lockgate.testing.store import moved, transition
from lockgate.testing.store.budgets import HOUR, MINE, plan, total, used

CHILD = Path(__file__).with_name("budget_child.py")
LIMIT = 6
ENDS = [
    (State.SUCCEEDED, EffectShown.FULL),
    (State.FAILED, EffectShown.PARTIAL),
    (State.FAILED, EffectShown.NONE),
    (State.CANCELLED, EffectShown.NONE),
    (State.DENIED, EffectShown.NONE),
]


@dataclass
class Kept:
    """What the model knows of an operation that counts; `until` is None while it is under way."""

    operation: Operation
    changes: int
    until: int | None = None


class Ledger(RuleBasedStateMachine):
    """Operations of one principal against one budget of changes, with a clock that may step back and a store that is opened again."""

    operations = Bundle("operations")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.store = self.opened()
        self.now, self.count = NOW, 0
        self.claimed_at = NOW
        self.kept: dict[str, Kept] = {}

    def opened(self) -> SqliteStore:
        store = SqliteStore(Path(self.folder.name) / "s" / "store.db")
        self.loop.run_until_complete(store.migrate())
        return store

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def taken(self, besides: str | None = None) -> int:
        """What counts now, by the model alone."""
        return sum(
            one.changes
            for name, one in self.kept.items()
            if name != besides and (one.until is None or one.until > self.now - HOUR)
        )

    def sum(self, besides: str | None = None) -> Sum:
        return Sum(MINE, Counts.CHANGES, self.now, HOUR, besides)

    @rule(target=operations, changes=st.integers(1, LIMIT + 2))
    def admitted(self, changes: int) -> str:
        """A request with a known plan, as `lockgate_apply_plan` makes it."""
        self.count += 1
        made = operation(f"op-{self.count}", plan=plan(update=changes), created_at=self.now, updated_at=self.now)
        claim = Claim("b", self.sum(), changes, LIMIT)
        command = replace(admit(made, epoch=1), claims=(claim,), spends=True)
        fits = self.taken() + changes <= LIMIT
        outcome = self.run(self.store.commit(command))
        assert isinstance(outcome, Done) if fits else outcome == Overdrawn("b")
        if fits:
            self.kept[made.id], self.claimed_at = Kept(made, changes), self.now
        return made.id

    @rule(which=operations, changes=st.integers(0, LIMIT + 2))
    def planned_again(self, which: str, changes: int) -> None:
        """The plan is another one now: it counts as what it says if there is room for that."""
        one = self.kept.get(which)
        if one is None or one.until is not None:
            return
        after = moved(one.operation, plan=plan(delete=changes), updated_at=self.now)
        command = transition(after)
        claim = Claim("b", self.sum(which), changes, LIMIT)
        fits = self.taken(which) + changes <= LIMIT
        outcome = self.run(self.store.commit(replace(command, claims=(claim,), spends=True)))
        assert isinstance(outcome, Done) if fits else outcome == Overdrawn("b")
        if fits:
            one.operation, one.changes, self.claimed_at = after, changes, self.now

    @rule(which=operations, end=st.sampled_from(ENDS))
    def ended(self, which: str, end: tuple[State, EffectShown]) -> None:
        one = self.kept.get(which)
        if one is None or one.until is not None:
            return
        state, shown = end
        after = moved(one.operation, state=state, phase=None, effect_shown=shown, updated_at=self.now)
        assert isinstance(self.run(self.store.commit(transition(after))), Done)
        one.operation, one.until = after, max(one.operation.created_at, self.now)
        if shown is EffectShown.NONE:
            del self.kept[which]

    @rule(which=operations)
    def lost(self, which: str) -> None:
        one = self.kept.get(which)
        if one is None or one.until is not None:
            return
        after = moved(one.operation, state=State.INDETERMINATE, phase=None, effect_shown=EffectShown.UNKNOWN)
        assert isinstance(self.run(self.store.commit(transition(after))), Done)
        one.operation = after

    @rule(by=st.sampled_from([1, 1000, HOUR - 1, HOUR, 2 * HOUR]))
    def later(self, by: int) -> None:
        self.now += by

    @precondition(lambda self: self.now > NOW)
    @rule(by=st.sampled_from([1, HOUR, 3 * HOUR]))
    def stepped_back(self, by: int) -> None:
        before = self.taken()
        self.now -= by
        assert self.taken() >= before, "an earlier clock freed something"

    @rule()
    def opened_again(self) -> None:
        self.run(self.store.close())
        self.store = self.opened()

    @invariant()
    def the_store_adds_up_what_the_model_does(self) -> None:
        asked = ReadPast("default", principal().id, None, None, (Asking(self.sum(), 0, LIMIT),))
        assert self.run(self.store.read(asked)).used[0].used == self.taken()
        # With the clock before the last claim, what had aged by then counts again beside it.
        assert self.taken() <= LIMIT or self.now < self.claimed_at

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.close()
        self.folder.cleanup()


Ledger.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLedger = Ledger.TestCase


async def test_kill_9_between_a_claim_and_its_use_leaves_an_honest_sum(tmp_path: Path) -> None:
    """Whatever was acknowledged counts, nothing counts that was not recorded, and never more than the limit."""
    path = tmp_path / "s" / "store.db"
    for turn in range(3):
        child = subprocess.Popen(
            [sys.executable, CHILD, path, str(turn)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout is not None and child.stderr is not None
        lines = [await asyncio.to_thread(child.stdout.readline) for _ in range(3 + 4 * turn)]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.read().split("\n")[:-1]
        assert child.wait() == -signal.SIGKILL, child.stderr.read()
        child.stdout.close()
        child.stderr.close()
        store = SqliteStore(path)
        await store.migrate()
        acknowledged = [line.split()[1] for line in lines if line.startswith("claimed")]
        assert acknowledged
        recorded = [await store.read(GetOperation(f"{turn}-{n}")) for n in range(200)]
        there = [one.id for one in recorded if one is not None]
        assert set(acknowledged) <= set(there)
        scope = Scope("default", principal=principal(f"agent-{turn}").id)
        assert (await used(store, total(scope)))[0] == len(there) <= 20
        await store.close()


async def test_a_second_gateway_cannot_have_a_ledger_of_its_own(tmp_path: Path) -> None:
    """Two processes on one budget are one process too many: SQLite's store is one process's."""
    path = tmp_path / "s" / "store.db"
    store = SqliteStore(path)
    await store.migrate()
    with pytest.raises(StoreLocked):
        await SqliteStore(path).migrate()
    await store.close()


async def test_what_was_recorded_before_there_was_a_ledger_counts(tmp_path: Path) -> None:
    path = tmp_path / "s" / "store.db"
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    both = replace(principal("both"), owner="https://issuer.example#zoe")
    human = replace(principal("ada", PrincipalKind.HUMAN), on_behalf_of="https://issuer.example#eve")
    done = {"state": State.SUCCEEDED, "phase": None, "effect_shown": EffectShown.FULL, "updated_at": NOW + 5}
    none = {"state": State.FAILED, "phase": None, "effect_shown": EffectShown.NONE}
    before = [
        operation("under-way", principal=both, plan=plan(1, 2, 3, 4)),
        operation("done", principal=human, plan=plan(update=2), **done),
        operation("alone", principal=replace(principal("alone"), on_behalf_of=None)),
        operation("unchanged", **none),
        operation("read", effect=Effect.READ),
        operation("dry", dry_run=True),
        operation(
            "refused",
            principal=principal("denied"),
            effect=Effect.READ,
            state=State.DENIED,
            reasons=tuple(Reason(rule, "", "", "") for rule in ("role", 'a"b')),
        ),
    ]
    database = open_writer(path)
    migrate(database, [step for step in migrations() if step[0] < 4])
    for one in before:
        row = (one.id, one.tenant, one.principal.id, one.target, one.region, "lane", one.state.value, one.version)
        database.execute(
            "INSERT INTO operation (id, tenant, principal, target, region, lane, state, version, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*row, orjson.dumps(to_document(one))),
        )
    migrate(database)
    columns = "id, spend.principal, human, human_too, until, changes, destroys, weight"
    found = {
        row[0]: row[1:]
        for row in database.execute(f"SELECT {columns} FROM spend JOIN operation USING (ordinal)").fetchall()
    }
    database.close()
    assert set(found) == {"under-way", "done", "alone"}
    for one in before[:3]:
        humans, what = humans_behind(one.principal), amounts_of(one)
        until = NOW + 5 if one.id == "done" else (1 << 63) - 1
        people = (humans[0], humans[1] if len(humans) > 1 else None)
        assert found[one.id] == (one.principal.id, *people, until, what.changes, what.destroys, what.weight)
    store = SqliteStore(path)
    await store.migrate()
    past = await store.read(ReadPast("default", human.id, NOW, None, ()))
    assert past.operations == (PastOperation("done", "service_restart", "change", "web-1", "succeeded", (), NOW + 5),)
    past = await store.read(ReadPast("default", "https://issuer.example#denied", NOW - 1, None, ()))
    assert past.operations == (
        PastOperation("refused", "service_restart", "read", "web-1", "denied", ("role", 'a"b'), NOW),
    )
    assert await store.read(GetEpoch()) == 1
    await store.close()
