"""While OPA takes up another bundle, each decision names exactly the revision that answered, and none is believed that was not pinned."""

from __future__ import annotations

import asyncio
import json

from tests.looptime import turns
from tests.unit.policy.opaserver.conftest import ALLOW, BUNDLE, DEADLINE, Fake, Make, PassBy, answer, ask, only_rule

from lockgate.contract.decision import Question
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.needs import Needs

NEXT = PolicyBundle(wasm=b"", data=b'{"next":1}')


async def test_the_next_revision_is_believed_once_it_was_pinned_and_the_old_one_no_longer(
    fake: Fake, make: Make
) -> None:
    engine = make()
    fake.says = [answer(revision=NEXT.revision)]
    assert only_rule(await ask(engine)) == "lockgate.engine.revision"
    engine.expect(NEXT)
    assert (engine.revision, engine.expected) == (BUNDLE.revision, NEXT.revision)
    decision = await ask(engine)
    assert (decision.allow, decision.revision) == (True, NEXT.revision)
    assert (engine.revision, engine.expected) == (NEXT.revision, None)
    fake.says = [answer()]
    assert only_rule(await ask(engine)) == "lockgate.engine.revision"


async def test_a_question_under_way_while_opa_moves_on_is_answered_under_the_revision_of_before(
    fake: Fake, make: Make
) -> None:
    engine = make()
    engine.expect(NEXT)
    arrived, moved = asyncio.Event(), asyncio.Event()

    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await moved.wait()
        writer.write(answer())

    fake.says = [slow, answer(revision=NEXT.revision)]
    under_way = asyncio.create_task(ask(engine, Question.PLAN))
    await arrived.wait()
    assert (await ask(engine)).revision == NEXT.revision
    moved.set()
    decision = await under_way
    assert (decision.allow, decision.revision) == (True, BUNDLE.revision)
    assert engine.revision == NEXT.revision, "an old answer takes nothing back"


async def test_each_decision_carries_the_texts_of_the_revision_that_answered(fake: Fake, make: Make) -> None:
    words = [{"r": {"title": name, "message": name, "fix": name}} for name in ("before", "after")]
    before, after = (PolicyBundle(wasm=b"", data=b"{}", rules=rules) for rules in words)
    engine = make(before)
    engine.expect(after)
    denies = {**ALLOW, "allow": False, "violations": [{"rule": "r"}]}
    for bundle, title in ((before, "before"), (after, "after")):
        fake.says = [answer(denies, bundle.revision)]
        decision = await ask(engine)
        assert (decision.revision, decision.violations[0].title) == (bundle.revision, title)


async def test_a_bundle_that_opa_never_took_up_is_forgotten_for_newer_ones(fake: Fake, make: Make) -> None:
    engine = make()
    for number in range(10):
        engine.expect(PolicyBundle(wasm=b"", data=b'{"n":%d}' % number))
    engine.expect(NEXT)
    fake.says = [answer(revision=PolicyBundle(wasm=b"", data=b'{"n":0}').revision)]
    assert only_rule(await ask(engine)) == "lockgate.engine.revision"
    fake.says = [answer(), answer(revision=NEXT.revision)]
    assert [(await ask(engine)).revision for _ in range(2)] == [BUNDLE.revision, NEXT.revision]


async def test_a_policy_that_wants_to_know_more_than_it_was_told_is_not_believed(fake: Fake, make: Make) -> None:
    told_more = PolicyBundle(wasm=b"", data=b'{"lockgate":{"parameters":{"history":{"window_seconds":60}}}}')
    engine = make()
    engine.expect(told_more)
    fake.says = [answer(revision=told_more.revision)]
    assert only_rule(await ask(engine)) == "lockgate.engine.revision"
    assert engine.needs == Needs(history_seconds=60)
    assert (await ask(engine)).allow


async def test_the_revision_of_before_may_go_on_answering_for_a_while_and_no_longer(fake: Fake, make: Make) -> None:
    engine = make(takeover=0.0)
    fake.says = [answer()]
    assert (await ask(engine)).allow
    engine.expect(NEXT)
    assert only_rule(await ask(engine)) == "lockgate.engine.revision"
    fake.says = [answer(revision=NEXT.revision)]
    assert (await ask(engine)).revision == NEXT.revision


async def test_a_revision_that_opa_was_told_of_first_is_looked_for_at_once_and_by_one_for_all(
    fake: Fake, make: Make
) -> None:
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        engine.expect(NEXT)

    engine = make(look=look)
    fake.says = [answer(revision=NEXT.revision)]
    decisions = await asyncio.gather(*(ask(engine) for _ in range(12)))
    assert [(decision.allow, decision.revision) for decision in decisions] == [(True, NEXT.revision)] * 12
    assert looks == 1


async def test_a_look_goes_on_when_the_question_that_began_it_is_given_up(fake: Fake, make: Make) -> None:
    begun, found, taken = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def look() -> None:
        begun.set()
        await found.wait()
        engine.expect(NEXT)
        taken.set()

    engine = make(look=look)
    fake.says = [answer(revision=NEXT.revision)]
    asking = asyncio.create_task(ask(engine))
    await begun.wait()
    asking.cancel()
    await asyncio.wait([asking])
    found.set()
    async with asyncio.timeout(20):
        await taken.wait()
    assert (await ask(engine)).revision == NEXT.revision


async def test_a_look_that_finds_nothing_denies_and_one_that_takes_too_long_is_a_timeout(
    fake: Fake, make: Make, pass_by: PassBy
) -> None:
    async def nothing() -> None:
        return

    async def long() -> None:
        pass_by(DEADLINE + 1)
        await turns()

    fake.says = [answer(revision=NEXT.revision)]
    assert only_rule(await ask(make(look=nothing))) == "lockgate.engine.revision"
    assert only_rule(await ask(make(look=long))) == "lockgate.engine.timeout"


async def test_going_back_to_an_earlier_bundle_is_believed_once_it_is_pinned_again(fake: Fake, make: Make) -> None:
    engine = make()
    engine.expect(NEXT)
    fake.says = [answer(revision=NEXT.revision)]
    assert (await ask(engine)).revision == NEXT.revision
    engine.expect(BUNDLE)
    fake.says = [answer()]
    assert (await ask(engine)).revision == BUNDLE.revision
    assert engine.expected is None


async def test_an_edit_that_is_undone_while_opa_takes_it_up_leaves_a_policy_that_is_believed(
    fake: Fake, make: Make
) -> None:
    engine = make()
    engine.expect(NEXT)
    engine.expect(BUNDLE)
    fake.says = [answer(revision=NEXT.revision)]
    assert (await ask(engine)).revision == NEXT.revision
    assert engine.expected == BUNDLE.revision
    fake.says = [answer()]
    assert (await ask(engine)).revision == BUNDLE.revision
    assert engine.expected is None


def with_budgets(limit: int, more: str = "") -> PolicyBundle:
    budget = {
        "name": "b",
        "targets": None,
        "per": "tenant",
        "counts": "operations",
        "window_seconds": 60,
        "limit": limit,
    }
    data = {"lockgate": {"parameters": {"budgets": [budget]}}, "more": more}
    return PolicyBundle(wasm=b"", data=json.dumps(data).encode())


async def test_a_policy_with_the_same_budgets_was_told_all_that_it_wants(fake: Fake, make: Make) -> None:
    engine = make(with_budgets(5))
    for bundle, allow in ((with_budgets(5, "another"), True), (with_budgets(6), False)):
        engine.expect(bundle)
        fake.says = [answer(revision=bundle.revision)]
        assert (await ask(engine)).allow is allow
