"""Votes: quorum, rejection, expiry, and what a vote is refused for."""

from __future__ import annotations

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import human

from lockgate.gateway.doors import VoteCall
from lockgate.gateway.errors import BadInput, Clash, Forbidden, NotFound
from lockgate.gateway.scheduling.sweep import sweep
from lockgate.gateway.store.port import VotesOf


async def test_a_quorum_of_two_waits_for_the_second(strict: Gate) -> None:
    operation = await strict.pending()
    first = await strict.vote(operation, human("carol"))
    assert first.state.value == "pending_approval"
    assert await strict.runner().poll() is None
    second = await strict.vote(operation, human("dave"))
    assert (second.state.value, second.phase) == ("queued", "apply")
    assert [vote.voter.subject for vote in await strict.store.read(VotesOf(operation.id))] == ["carol", "dave"]
    lease = await strict.runner().take()
    assert lease.grant.operation == operation.id


async def test_one_rejection_ends_it(strict: Gate) -> None:
    operation = await strict.pending()
    await strict.vote(operation, human("carol"))
    ended = await strict.vote(operation, human("dave"), "reject")
    assert (ended.state.value, ended.effect_shown) == ("denied", "none")
    assert ended.reasons[0].rule == "rejected"
    with pytest.raises(Clash, match="takes no votes"):
        await strict.vote(operation, human("erin"))


async def test_a_vote_that_expired_before_the_lease_sends_it_back(gate: Gate) -> None:
    operation = await gate.vote(await gate.pending(), human("carol"))
    gate.clock.advance(3601)
    assert await gate.runner().poll() is None
    again = await gate.operation(operation)
    assert again.state.value == "pending_approval"
    assert again.approval_expires_at is not None
    assert again.approval_expires_at > gate.clock()
    assert (await gate.vote(operation, human("carol"))).state.value == "queued", "the same human may vote anew"


async def test_a_vote_that_expired_before_the_start_stops_it(gate: Gate) -> None:
    from lockgate.contract.runnerapi import Heartbeat

    operation, lease = await gate.applying("web-prod")
    runner = gate.runner()
    gate.core.timing = type(gate.core.timing)(lease=7200)
    await gate.door.heartbeat(runner.peer, lease.attempt, Heartbeat(lease.grant.fence))
    plan = (await gate.operation(operation)).plan
    assert plan is not None
    left = (lease.grant.not_after - gate.clock()) / 1000
    votes = await gate.store.read(VotesOf(operation.id))
    assert votes[0].expires_at > gate.clock() + left * 1000, "the grant ends first with the default limits"
    gate.clock.advance(left - 1)
    assert (await runner.start_apply(lease)).permit is not None


async def test_a_human_without_the_role_does_not_vote(gate: Gate) -> None:
    operation = await gate.pending()
    with pytest.raises(Forbidden) as refused:
        await gate.vote(operation, human("root", "admin"))
    assert refused.value.decision_id is not None
    assert {rule["rule"] for rule in refused.value.rules} >= {"approver_group"}
    assert "vote.refused" in await gate.kinds(operation)


async def test_another_tenants_human_finds_nothing(gate: Gate) -> None:
    operation = await gate.pending()
    with pytest.raises(NotFound):
        await gate.vote(operation, human("carol", tenant="other"))


@pytest.mark.parametrize("verdict", ["", "yes", "APPROVE"])
async def test_a_verdict_is_one_of_two_words(gate: Gate, verdict: str) -> None:
    operation = await gate.pending()
    with pytest.raises(BadInput, match="approve or reject"):
        await gate.vote(operation, human("carol"), verdict)


async def test_a_vote_without_digests_is_refused(gate: Gate) -> None:
    operation = await gate.pending()
    with pytest.raises(BadInput) as refused:
        await gate.desk.vote(human("carol"), VoteCall(operation.id, "approve", "", "", ""))
    assert refused.value.field == "digests"


async def test_nobody_voted_in_time(gate: Gate) -> None:
    operation = await gate.pending()
    gate.clock.advance(gate.core.timing.approval_expiry - 1)
    await sweep(gate.core)
    assert (await gate.operation(operation)).state.value == "pending_approval"
    gate.clock.advance(2)
    await sweep(gate.core)
    ended = await gate.operation(operation)
    assert (ended.state.value, ended.effect_shown) == ("expired", "none")


async def test_policy_of_now_says_whether_votes_suffice(gate: Gate, library) -> None:
    """Approved under one policy; under a stricter one a second vote is needed, and the first still counts."""
    operation = await gate.vote(await gate.pending(), human("carol"))
    gate.core.policy = library(("standard: {count: 1,", "standard: {count: 2,"))
    assert await gate.runner().poll() is None
    assert (await gate.operation(operation)).state.value == "pending_approval"
    assert (await gate.vote(operation, human("dave"))).state.value == "queued"
