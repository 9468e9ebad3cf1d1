"""Explanations: an agent's own operation without other people in it, a person's with them; nobody else's."""

from __future__ import annotations

import json

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import agent, human

from lockgate.gateway.audit.entries import EntryKind
from lockgate.gateway.errors import Clash, Forbidden, NotFound
from lockgate.gateway.operations.explanation import MAX_MOMENTS, Explanation, for_agent
from lockgate.gateway.operations.views import agent_view, explanation_view, rules_told, story_lines


def said(explanation: Explanation) -> str:
    return story_lines(explanation)


async def test_an_agent_is_told_its_own_story_from_request_to_end(gate: Gate) -> None:
    operation = await gate.planned(await gate.ask(dry_run=True))
    story = await gate.desk.explain(agent(), operation.id)
    kinds = [moment.what for moment in story.moments]
    assert kinds[0] == "operation.requested" and kinds[-1] in ("operation.ended", "receipt.received")
    assert {"decision.made", "operation.leased", "start.committed", "plan.recorded"} <= set(kinds)
    assert all(moment.who is None for moment in story.moments)


async def test_an_agent_is_told_of_votes_but_not_whose_nor_how_many_are_needed(strict: Gate) -> None:
    operation = await strict.vote(await strict.pending(), human("carol"))
    with pytest.raises(Forbidden):
        await strict.vote(operation, human("root", "admin"))
    story = await strict.desk.explain(agent(), operation.id)
    text = said(story) + json.dumps(story.story())
    assert "A person voted approve." in text
    for hidden in ("carol", "root", "approver_group", "`approve`", "vote.refused"):
        assert hidden not in text
    assert (story.awaited, story.commands) == ((), ())


async def test_the_number_of_votes_that_were_needed_cannot_be_counted_in_the_story(strict: Gate) -> None:
    operation = await strict.vote(await strict.pending(), human("carol"))
    operation = await strict.vote(operation, human("dave"))
    assert operation.state.value == "queued"
    story = (await strict.desk.explain(agent(), operation.id)).story()
    for of_a_vote in ("A person voted approve", "`apply` and said no", "now pending_approval"):
        assert sum(of_a_vote in moment["said"] for moment in story) == 1, (of_a_vote, story)


async def test_a_rule_is_told_with_its_severity_and_why_to_people_and_to_the_agent(gate: Gate) -> None:
    denied = await gate.ask(agent(roles=()))
    for told in (
        rules_told(await gate.desk.explain(agent(roles=()), denied.id)),
        explanation_view(await gate.desk.explain(human("dave"), denied.id))["rules"],
    ):
        (rule,) = told
        assert (rule["rule"], rule["severity"]) == ("role", "high")
        assert rule["why"] == "Everything is forbidden that no role permits."
        assert rule["fix"]


async def test_the_rule_that_makes_it_wait_is_told_in_words(gate: Gate) -> None:
    waits = await gate.ask()
    await gate.desk.freeze(human("ada", "approver", "admin"), "*", True, "an incident")
    assert await gate.runner().poll() is None
    (rule,) = rules_told(await gate.desk.explain(agent(), waits.id))
    assert (rule["rule"], rule["severity"], rule["title"]) == ("freeze", "high", "Changes are frozen")
    assert rule["why"].startswith("In an incident")


async def test_who_rejected_is_told_to_people_alone(strict: Gate) -> None:
    operation = await strict.vote(await strict.pending(), human("carol"), "reject")
    assert operation.state.value == "denied"
    assert "carol" not in json.dumps(agent_view(operation)) + said(await strict.desk.explain(agent(), operation.id))
    view = explanation_view(await strict.desk.explain(human("dave"), operation.id))
    assert any("carol" in moment.get("who", "") for moment in view["story"])


async def test_a_person_is_told_who_voted_how_many_are_missing_and_what_to_run(strict: Gate) -> None:
    operation = await strict.vote(await strict.pending(), human("carol"))
    view = explanation_view(await strict.desk.explain(human("dave"), operation.id))
    assert view["awaited"][0].startswith("approvals: 1 of 2 (") and "carol" in view["awaited"][0]
    assert view["commands"] == [
        f"lockgate operation approve {operation.id}",
        f"lockgate operation reject {operation.id}",
    ]
    assert any("carol" in moment.get("who", "") for moment in view["story"])


async def test_what_holds_a_lock_is_named_to_people_and_not_to_agents(gate: Gate) -> None:
    holder, _ = await gate.applying()
    waits = await gate.planned(await gate.ask())
    assert await gate.runner("runner-2").poll() is None
    view = explanation_view(await gate.desk.explain(human("dave"), waits.id))
    assert view["status"] == "queued" and any(holder.id in item for item in view["awaited"])
    assert f"lockgate target unlock {waits.target} --reason REASON" in view["commands"]
    story = await gate.desk.explain(agent(), waits.id)
    assert holder.id not in said(story)


async def test_somebody_elses_and_unknown_operations_answer_alike(gate: Gate) -> None:
    operation = await gate.ask()
    texts = []
    for who, name in (
        (agent("other"), operation.id),
        (agent(), "op_unknown"),
        (human("eve", tenant="other"), operation.id),
    ):
        with pytest.raises(NotFound) as refused:
            await gate.desk.explain(who, name)
        texts.append((str(refused.value), refused.value.field))
    assert len(set(texts)) == 1


async def test_an_indeterminate_operation_says_until_when_its_writer_may_live(gate: Gate) -> None:
    from lockgate.gateway.scheduling.sweep import sweep

    operation, lease = await gate.applying()
    assert (await gate.runner().start_apply(lease)).permit is not None
    gate.clock.advance(gate.core.timing.lease + 1)
    await sweep(gate.core)
    view = explanation_view(await gate.desk.explain(human("dave"), operation.id))
    assert view["status"] == "indeterminate" and "may still be at work until" in view["awaited"][0]
    assert view["commands"] == [f"lockgate operation resolve {operation.id} --outcome OUTCOME --reason REASON"]
    assert view["retry"]["helps"] is False


async def test_a_long_story_is_cut_in_the_middle_and_says_so(gate: Gate) -> None:
    from lockgate.gateway.audit.entries import StoredEntry

    operation = await gate.ask()
    kind = EntryKind.OPERATION_WAITS.value
    entries = tuple(
        StoredEntry(seq, seq, kind, operation.id, None, "", {"waiting_for": str(seq)}) for seq in range(500)
    )
    moments = for_agent(operation, entries, {}).moments
    assert len(moments) == MAX_MOMENTS + 1
    assert moments[MAX_MOMENTS // 2].said == "400 more entries are left out here."


async def test_a_used_idempotency_key_names_the_operation_that_is_there(gate: Gate) -> None:
    first = await gate.ask(idempotency_key="one")
    with pytest.raises(Clash) as refused:
        await gate.ask(idempotency_key="one", replicas=4)
    assert refused.value.operation == first.id
