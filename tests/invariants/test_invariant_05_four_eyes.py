"""Invariant 5: no one approves what they asked for, what an agent asked on their behalf, or what an agent they own asked, across all their
identities."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import ISSUER, agent, human
from tests.unit.policy.test_hostile_policy import module

from lockgate.contract.decision import Question
from lockgate.contract.intent import Principal, PrincipalKind
from lockgate.gateway.errors import Forbidden
from lockgate.gateway.operations.judging import judge
from lockgate.gateway.operations.model import Operation, Vote
from lockgate.gateway.operations.states import Event
from lockgate.gateway.store.port import VotesOf
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.replay import UNHURRIED

ALICE = ISSUER + "#alice"
BOTH = ("operator", "approver", "admin")
REQUESTERS = {
    "a human for herself": human("alice", *BOTH),
    "an agent on her behalf": agent(on_behalf_of=ALICE),
    "an agent on her behalf, named by a bare subject": agent(on_behalf_of="alice"),
    "an agent of hers": agent(on_behalf_of=None, owner=ALICE),
    "an agent of hers, owner a bare subject": agent(on_behalf_of=None, owner="alice"),
    "an agent of hers on another's behalf": agent(on_behalf_of=ISSUER + "#bob", owner=ALICE),
    "another's agent on her behalf": agent(on_behalf_of=ALICE, owner=ISSUER + "#bob"),
    "an agent under her own subject": agent("alice", on_behalf_of=None, owner=ISSUER + "#bob"),
}


@pytest.fixture
async def yes() -> AsyncIterator[EmbeddedEngine]:
    """The real engine with a policy that says yes to everything."""
    engine = EmbeddedEngine(PolicyBundle(wasm=module("(i32.const 4096)"), data=b"{}"), UNHURRIED)
    yield engine
    await engine.close()


async def refused(gate: Gate, operation: Operation, voter: Principal) -> str:
    """The rule that refuses a vote; nothing has moved and the refusal is on record."""
    with pytest.raises(Forbidden) as caught:
        await gate.vote(operation, voter)
    assert (await gate.operation(operation)).state.value == "pending_approval"
    assert await gate.store.read(VotesOf(operation.id)) == ()
    assert "vote.refused" in await gate.kinds(operation)
    return caught.value.rules[0]["rule"]


@pytest.mark.parametrize("requester", REQUESTERS.values(), ids=REQUESTERS)
async def test_code_refuses_what_policy_would_allow(gate: Gate, yes: EmbeddedEngine, requester: Principal) -> None:
    operation = await gate.pending(requester)
    gate.core.policy = yes
    assert await refused(gate, operation, human("alice", *BOTH)) == "lockgate.four_eyes"
    assert (await gate.vote(operation, human("carol"))).state.value == "queued"


@pytest.mark.parametrize("requester", REQUESTERS.values(), ids=REQUESTERS)
async def test_policy_does_not_count_such_a_vote_either(gate: Gate, requester: Principal) -> None:
    """Had a vote of hers ever got into the store, it would still not suffice."""
    operation = await gate.pending(requester)
    plan = operation.plan
    assert plan is not None

    def vote(voter: Principal) -> Vote:
        now = gate.clock()
        return Vote(operation.id, voter, "approve", plan.semantic_sha256, plan.inputs_sha256, "", "", now, now + 60_000)

    hers = await judge(gate.core, operation, question=Question.APPLY, extra_votes=(vote(human("alice", *BOTH)),))
    assert hers.event is Event.APPROVAL_MISSING
    carols = await judge(gate.core, operation, question=Question.APPLY, extra_votes=(vote(human("carol")),))
    assert carols.event is None


async def test_an_agent_never_votes(gate: Gate, yes: EmbeddedEngine) -> None:
    operation = await gate.pending()
    gate.core.policy = yes
    with pytest.raises(Forbidden, match=r"[Hh]uman"):
        await gate.vote(operation, replace(human("carol"), kind=PrincipalKind.AGENT))
    with pytest.raises(Forbidden, match=r"[Hh]uman"):
        await gate.vote(operation, agent("helper", on_behalf_of=ISSUER + "#carol", roles=("approver",)))
    assert (await gate.operation(operation)).state.value == "pending_approval"


async def test_an_agent_nobody_answers_for_obtains_no_approval(gate: Gate, yes: EmbeddedEngine) -> None:
    operation = await gate.pending(agent(on_behalf_of=None))
    gate.core.policy = yes
    assert await refused(gate, operation, human("carol")) == "lockgate.unaccountable"


async def test_the_shipped_policy_refuses_her_too(gate: Gate) -> None:
    operation = await gate.pending(agent(on_behalf_of=ALICE))
    assert await refused(gate, operation, human("alice", *BOTH)) in {"lockgate.four_eyes", "four_eyes"}


async def test_one_voter_counts_once(strict: Gate) -> None:
    """Two are needed; the same human twice, even with another token, is one."""
    operation = await strict.pending()
    first = await strict.vote(operation, human("carol"))
    assert first.state.value == "pending_approval"
    from lockgate.gateway.errors import Clash

    with pytest.raises(Clash):
        await strict.vote(operation, replace(human("carol"), token_id="another"))
    assert (await strict.operation(operation)).state.value == "pending_approval"
    assert (await strict.vote(operation, human("dave"))).state.value == "queued"
