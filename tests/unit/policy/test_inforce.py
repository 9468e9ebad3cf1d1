"""The policy in force changes between decisions, never within one; what is too old, or not there, denies."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from tests.invariants.keepers import Time

from lockgate.contract.decision import Decision, Obligations, Provenance, Question
from lockgate.policy.bundle import PolicyBundle, Release, library_with
from lockgate.policy.embedded import EmbeddedEngine, EngineSettings, complete_engine
from lockgate.policy.freshness import CLOCK_SKEW, Freshness
from lockgate.policy.inforce import PolicyInForce
from lockgate.policy.needs import NOTHING, Needs
from lockgate.policy.wasm import Bounds
from lockgate.testing.policy_engine import example_input

REQUEST = example_input(Question.REQUEST)
SIGNED_AT = 1_795_000_000


class Gated:
    """An engine whose decisions wait until the test lets them go."""

    name = "gated"
    needs: Needs = NOTHING

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self.bundle = PolicyBundle(b"", b"{}")
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.closed = 0

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        self.asked.set()
        await self.go.wait()
        assert not self.closed, "closed under a decision"
        return Decision.of(question, (), Obligations(), Provenance("dec_1", self.revision, self.name))

    async def close(self) -> None:
        self.closed += 1


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_decision_ends_under_the_engine_it_began_with_which_is_closed_after_the_last() -> None:
    policy, old, new = PolicyInForce(Time().clocks), Gated("old"), Gated("new")
    policy.swap(old, None)
    first = asyncio.create_task(policy.decide(Question.REQUEST, REQUEST))
    second = asyncio.create_task(policy.decide(Question.REQUEST, REQUEST))
    await old.asked.wait()
    policy.swap(new, None)
    assert policy.revision == "new"
    third = asyncio.create_task(policy.decide(Question.REQUEST, REQUEST))
    await new.asked.wait()
    second.cancel()
    await settle()
    assert old.closed == 0
    old.go.set()
    new.go.set()
    assert ((await first).revision, (await third).revision) == ("old", "new")
    await settle()
    assert (old.closed, new.closed) == (1, 0)
    await policy.close()
    assert new.closed == 1


async def test_who_holds_the_policy_sees_one_policy_until_they_let_go() -> None:
    policy, old, new = PolicyInForce(Time().clocks), Gated("old"), Gated("new")
    policy.swap(old, None)
    old.go.set()
    with policy.held as held:
        policy.swap(new, None)
        await settle()
        assert (held.revision, policy.revision) == ("old", "new")
        assert (await held.decide(Question.REQUEST, REQUEST)).revision == "old"
        await settle()
        assert old.closed == 0
    await settle()
    assert old.closed == 1


async def test_an_engine_that_is_swapped_for_itself_stays_open() -> None:
    policy, one = PolicyInForce(Time().clocks), Gated("one")
    policy.swap(one, None)
    policy.swap(one, None)
    await settle()
    assert one.closed == 0
    await policy.close()
    assert one.closed == 1


@pytest.mark.parametrize("question", list(Question))
async def test_without_a_policy_every_question_is_denied_and_says_why(question: Question) -> None:
    policy = PolicyInForce(Time().clocks)
    decision = await policy.decide(question, example_input(question))
    assert not decision.allow
    assert [violation.rule for violation in decision.violations] == ["lockgate.engine.no_policy"]
    assert decision.input_sha256.startswith("sha256:")
    assert (decision.revision, policy.revision) == ("none", "none")
    assert [v.rule for v in (await policy.decide(question, {})).violations] == ["lockgate.engine.input"]
    await policy.close()


@pytest.mark.parametrize("question", list(Question))
async def test_a_policy_that_is_too_old_denies_every_question_until_a_newer_one_is_there(question: Question) -> None:
    time, document = Time(), example_input(question)
    policy, engine = PolicyInForce(time.clocks), Gated("one")
    engine.go.set()
    policy.swap(engine, Freshness.of(Release(1, SIGNED_AT, 60), None, time.clocks))
    time.pass_(60)
    assert (await policy.decide(question, document)).allow
    time.pass_(1)
    decision = await policy.decide(question, document)
    assert [violation.rule for violation in decision.violations] == ["lockgate.engine.stale"]
    assert decision.revision == "one"
    policy.refresh(Freshness.of(Release(2, SIGNED_AT + 61, 60), None, time.clocks))
    assert (await policy.decide(question, document)).allow
    await policy.close()


def test_the_shorter_of_both_ages_counts_and_without_one_nothing_gets_old() -> None:
    clocks = Time().clocks
    assert Freshness.of(Release(1, SIGNED_AT), None, clocks) is None
    assert Freshness.of(None, 60, clocks) is None
    for ages in ((60, 600), (600, 60), (60, None), (None, 60)):
        made = Freshness.of(Release(1, SIGNED_AT, ages[0]), ages[1], clocks)
        assert made is not None
        assert made.max_age == 60


def test_a_clock_that_is_set_back_makes_no_policy_younger() -> None:
    time = Time()
    fresh = Freshness.of(Release(1, SIGNED_AT, 60), None, time.clocks)
    assert fresh is not None
    time.pass_(50)
    time.wall -= 100_000
    assert (fresh.age(time.clocks), fresh.problem(time.clocks)) == (50, None)
    time.pass_(11)
    assert fresh.problem(time.clocks)


def test_a_clock_that_is_set_forward_makes_it_older_and_back_again_young() -> None:
    time = Time()
    fresh = Freshness.of(Release(1, SIGNED_AT, 60), None, time.clocks)
    assert fresh is not None
    time.wall += 1000
    assert fresh.problem(time.clocks)
    time.wall -= 1000
    assert fresh.problem(time.clocks) is None


def test_a_bundle_from_the_future_is_of_unknown_age_until_the_clock_is_right() -> None:
    time = Time()
    time.wall -= CLOCK_SKEW
    small = Freshness.of(Release(1, SIGNED_AT, 60), None, time.clocks)
    assert small is not None and small.problem(time.clocks) is None
    time.wall -= 86_400
    fresh = Freshness.of(Release(1, SIGNED_AT, 60), None, time.clocks)
    assert fresh is not None and "signed in the future" in str(fresh.problem(time.clocks))
    time.wall = SIGNED_AT + 30
    assert fresh.problem(time.clocks) is None


DATA = """
version: 1
roles: {{deployer: {{questions: {questions}}}}}
bindings: [{{subject: {{issuer: "https://issuer.test", id: agent-1}}, roles: [deployer]}}]
regions: {{default: [eu]}}
approvals:
  approvers: [deployer]
  standard: {{count: 1, groups: [], expires_in_seconds: {number}}}
  rules: [{{name: everything}}]
"""


def numbered(number: int) -> PolicyBundle:
    """A policy whose every answer says which it is: how long the votes that a plan needs count, and whether an agent may ask at all."""
    questions = "[list, plan]" if number % 2 else "[list, plan, request]"
    return library_with(DATA.format(number=number, questions=questions), "data.yaml")


def patient(bundle: PolicyBundle) -> EmbeddedEngine:
    """An engine that a busy machine does not make deny: here only the answers count."""
    return complete_engine(bundle, EngineSettings(loop=Bounds(seconds=60), worker=Bounds(seconds=60)))


async def test_swaps_under_load_drop_nothing_and_every_answer_is_of_the_revision_it_names() -> None:
    """Real engines, compiled in threads while 32 callers ask without a pause, in the loop and in the worker."""
    bundles = {bundle.revision: (number, bundle) for number, bundle in ((n, numbered(n)) for n in range(61, 85))}
    assert len(bundles) == 24
    policy, answered = PolicyInForce(Time().clocks), {revision: asyncio.Event() for revision in bundles}
    questions = {question: example_input(question) for question in (Question.REQUEST, Question.PLAN)}
    done = False

    def check(decision: Decision, question: Question) -> None:
        number, _ = bundles[decision.revision]
        rules = [violation.rule for violation in decision.violations]
        if question is Question.REQUEST:
            assert rules == (["role"] if number % 2 else []), (number, rules)
        else:
            assert rules == []
            assert decision.obligations.approvals is not None
            assert decision.obligations.approvals.expires_in_seconds == number
        answered[decision.revision].set()

    async def caller(question: Question) -> int:
        count = 0
        while not done:
            check(await policy.decide(question, questions[question]), question)
            await asyncio.sleep(0)
            count += 1
        return count

    first = next(iter(bundles.values()))[1]
    policy.swap(await asyncio.to_thread(patient, first), None)
    callers = [asyncio.create_task(caller(question)) for question in questions for _ in range(16)]
    for revision, (_, bundle) in list(bundles.items())[1:]:
        policy.swap(await asyncio.to_thread(patient, bundle), None)
        await asyncio.wait(
            [asyncio.create_task(answered[revision].wait()), *callers], return_when=asyncio.FIRST_COMPLETED
        )
    done = True
    assert all(await asyncio.gather(*callers))
    assert all(event.is_set() for event in answered.values())
    await policy.close()


async def test_the_loop_goes_on_deciding_while_a_policy_is_compiled() -> None:
    """The compiler is not left until the loop has decided: were it in the loop, this would never end."""
    policy = PolicyInForce(Time().clocks)
    policy.swap(await asyncio.to_thread(patient, numbered(62)), None)
    decided = threading.Event()

    def make() -> Any:
        engine = complete_engine(numbered(64))
        assert decided.wait(120)
        return engine

    making = asyncio.create_task(asyncio.to_thread(make))
    assert (await policy.decide(Question.REQUEST, REQUEST)).allow
    decided.set()
    policy.swap(await making, None)
    await policy.close()
