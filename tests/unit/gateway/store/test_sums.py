"""Of sums in the SQLite store: many claims of one batch against their own limits, what is read in the event loop, and by which indexes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.gateway.operations.spending import humans_behind
from lockgate.gateway.store.past import Asking, Past
from lockgate.gateway.store.port import Admit, Claim, Done, Overdrawn, ReadPast, Scope, Sum
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.gateway.store.sqlite.connection import open_reader
from lockgate.gateway.store.sqlite.past import FEW_ADDED, FEW_SUMS, read_past, read_past_at_once
from lockgate.gateway.store.sqlite.sums import Addition
from lockgate.policy.needs import Counts
from lockgate.testing.records import NOW, admit, operation, principal
from lockgate.testing.store.budgets import HOUR, MINE, plan, total, used

PEOPLE = [
    principal("a"),
    replace(principal("b"), owner="https://issuer.example#zoe"),
    replace(principal("c"), on_behalf_of=None),
]
TARGETS = ["web-1", "web-2"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "s" / "store.db")
    await opened.migrate()
    yield opened
    await opened.close()


def _scopes(who: int, target: str) -> list[Scope]:
    principal_ = PEOPLE[who]
    return [
        Scope("default"),
        Scope("default", targets=("web-1", "elsewhere", "web-2")),
        Scope("default", targets=(target,)),
        Scope("default", principal=principal_.id),
        Scope("default", principal=principal_.id, targets=(target,)),
        Scope("default", humans=humans_behind(principal_)),
    ]


@st.composite
def batches(draw: st.DrawFn) -> list[list[Admit]]:
    """New operations in batches, each of which claims of the same few budgets; the clock moves both ways."""
    kinds = st.tuples(st.integers(0, len(_scopes(0, "")) - 1), st.sampled_from([Counts.OPERATIONS, Counts.CHANGES]))
    budgets = draw(st.dictionaries(kinds, st.integers(1, 12), min_size=1, max_size=3))

    def one(name: str) -> Admit:
        who, target, changes = draw(st.integers(0, 2)), draw(st.sampled_from(TARGETS)), draw(st.integers(0, 3))
        made = operation(name, principal=PEOPLE[who], target=target, plan=plan(update=changes) if changes else None)
        now = NOW + draw(st.integers(-HOUR, HOUR))
        claims = tuple(
            Claim(
                f"{kind} {counts}",
                Sum(_scopes(who, target)[kind], counts, now, HOUR),
                1 if counts is Counts.OPERATIONS else changes,
                limit,
            )
            for (kind, counts), limit in budgets.items()
        )
        return replace(admit(made, epoch=1), claims=claims, spends=True)

    return [
        [one(f"op-{batch}-{number}") for number in range(draw(st.integers(1, 12)))]
        for batch in range(draw(st.integers(1, 3)))
    ]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=batches())
def test_whatever_is_committed_at_once_no_claim_is_broken_and_none_is_refused_that_had_room(
    made: list[list[Admit]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All that counts is under way, so that sums only grow: who was admitted fits at the end, and who was refused does not."""

    async def run() -> None:
        store = SqliteStore(tmp_path_factory.mktemp("store") / "s" / "store.db")
        await store.migrate()
        for batch in made:
            outcomes = await asyncio.gather(*map(store.commit, batch))
            for command, outcome in zip(batch, outcomes, strict=True):
                totals = await used(store, *(claim.sum for claim in command.claims)) if command.claims else ()
                fits = [
                    have + (0 if isinstance(outcome, Done) else claim.asked) <= claim.limit
                    for claim, have in zip(command.claims, totals, strict=True)
                ]
                assert all(fits) if isinstance(outcome, Done) else not all(fits), (command, outcome, totals)
        await store.close()

    asyncio.run(run())


async def test_of_claims_that_surely_hold_and_those_that_may_not_exactly_as_many_pass_as_there_is_room_for(
    store: SqliteStore,
) -> None:
    """Each of the same commands claims one of sixty: all of the first batch, and of the second as many as there is room for."""
    claim = Claim("hourly", Sum(Scope("default"), Counts.OPERATIONS, NOW, HOUR), 1, 60)
    commands = [
        replace(
            admit(operation(f"op-{number}", principal=principal(f"agent-{number}")), epoch=1),
            claims=(replace(claim, sum=replace(claim.sum, now=NOW + number)),),
            spends=True,
        )
        for number in range(80)
    ]
    first = await asyncio.gather(*map(store.commit, commands[:30]))
    assert all(isinstance(outcome, Done) for outcome in first)
    second = await asyncio.gather(*map(store.commit, commands[30:]))
    assert [isinstance(outcome, Done) for outcome in second].count(True) == 30
    assert [outcome for outcome in second if not isinstance(outcome, Done)] == [Overdrawn("hourly")] * 20
    assert (await used(store, total(Scope("default"))))[0] == 60


async def _filled(store: SqliteStore, count: int) -> None:
    made = [replace(admit(operation(f"op-{n}", updated_at=NOW + n), epoch=1), spends=True) for n in range(count)]
    outcomes = await asyncio.gather(*map(store.commit, made))
    assert all(isinstance(outcome, Done) for outcome in outcomes)


async def test_what_is_read_at_once_is_what_a_thread_reads(store: SqliteStore, tmp_path: Path) -> None:
    await _filled(store, 70)
    db = open_reader(tmp_path / "s" / "store.db")
    sums = tuple(Asking(Sum(scope, counts, NOW, HOUR), 1, 1000) for scope in _scopes(0, "web-1") for counts in Counts)
    for query in (
        ReadPast("default", principal().id, 0, None, sums[:FEW_SUMS]),
        ReadPast("default", principal().id, NOW + 3, "op-7", sums[-2:]),
        ReadPast("default", principal("nobody").id, 0, None, ()),
        ReadPast("default", principal().id, None, None, sums[:1]),
    ):
        told = read_past_at_once(db, query)
        assert told == read_past(db, query) == await store.read(query)
        assert isinstance(told, Past)
    db.close()


async def test_what_is_much_or_used_up_is_left_to_a_thread(store: SqliteStore, tmp_path: Path) -> None:
    await _filled(store, FEW_ADDED // FEW_SUMS + 1)
    db = open_reader(tmp_path / "s" / "store.db")
    mine = Sum(MINE, Counts.OPERATIONS, NOW, HOUR)
    ample, spent = Asking(mine, 1, 10_000), Asking(mine, 1, 20)
    assert read_past_at_once(db, ReadPast("default", principal().id, 0, None, (ample,))) is not None
    for sums in ((ample,) * FEW_SUMS, (ample,) * (FEW_SUMS + 1), (spent,)):
        query = ReadPast("default", principal().id, 0, None, sums)
        assert read_past_at_once(db, query) is None
        told = await store.read(query)
        assert [one.used for one in told.used] == [FEW_ADDED // FEW_SUMS + 1] * len(sums)
        assert told == read_past(db, query)
    db.close()


async def test_all_that_a_question_is_told_stands_in_an_index(store: SqliteStore, tmp_path: Path) -> None:
    """Otherwise each operation that is told of, or added up, costs a page more."""
    db = open_reader(tmp_path / "s" / "store.db")
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    read_past_at_once(db, ReadPast("default", principal().id, 0, None, ()))
    db.set_trace_callback(None)
    addition = Addition([Sum(scope, counts, NOW, HOUR) for scope in _scopes(0, "web-1") for counts in Counts])
    found = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statements[-1]}").fetchall()]
    found += [
        row[3]
        for row in db.execute(f"EXPLAIN QUERY PLAN SELECT {', '.join(addition.columns)}", addition.values).fetchall()
    ]
    db.close()
    looks = [
        step for step in found if step.startswith(("SEARCH spend", "SCAN spend", "SEARCH operation", "SCAN operation"))
    ]
    assert len(looks) > len(addition.columns)
    assert [step for step in looks if "USING COVERING INDEX" not in step and "(id=?)" not in step] == []
