"""A human's vote on exactly what was displayed to that human; it must never let anyone approve their own (invariant 5)."""

from __future__ import annotations

from dataclasses import replace

from lockgate.contract.decision import Question
from lockgate.contract.intent import Principal, PrincipalKind
from lockgate.gateway import progress
from lockgate.gateway.admission import EPOCH_RACES, decision_entry, identify
from lockgate.gateway.approvals.quorum import identities
from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.core import Core
from lockgate.gateway.doors import VoteCall
from lockgate.gateway.errors import BadInput, Clash, Forbidden, Unavailable
from lockgate.gateway.operations.changes import end_entry, entry, moved
from lockgate.gateway.operations.judging import current_plan, judge, obligations_of, parts
from lockgate.gateway.operations.model import DecisionRecord, Operation, Reason, Vote
from lockgate.gateway.operations.questions import Asked, Subject, ask, plan_document
from lockgate.gateway.operations.states import Event, State
from lockgate.gateway.operations.transitions import decisions, done, records
from lockgate.gateway.store.port import Append, EpochMoved, GetOperation, Transition

VERDICTS = ("approve", "reject")


async def cast(core: Core, voter: Principal, call: VoteCall, operation: Operation) -> Operation:
    """Count one vote, or refuse it with the reason; a refused vote is an audit entry. Raises BadInput, Clash, Forbidden, Unavailable."""
    began = core.clock()
    for _ in range(EPOCH_RACES):
        epoch = core.standing.epoch
        identify(core, voter, began)
        vote = displayed_is_current(core, voter, call, operation)
        await four_eyes(core, voter, operation)
        asked = await entitled(core, voter, operation)
        moved_to, entries, decided = await _counted(core, operation, vote)
        outcome = await core.commit(
            Transition(
                now=core.clock(),
                entries=(
                    decision_entry(operation.id, voter.id, asked),
                    _vote_entry(operation, vote),
                    *entries,
                    *end_entry(moved_to),
                ),
                operation=moved_to,
                expected_version=operation.version,
                votes=(vote,),
                decisions=(asked.record, *decided),
                epoch=epoch,
            )
        )
        if not isinstance(outcome, EpochMoved):
            return done(outcome, moved_to)
        await core.refresh()
        newer = await core.store.read(GetOperation(operation.id))
        operation = newer if newer is not None else operation
    raise Unavailable("Policy keeps changing; vote again.", retry_after=1.0)


def displayed_is_current(core: Core, voter: Principal, call: VoteCall, operation: Operation) -> Vote:
    """The vote, if the digests that were displayed are those of the current plan. Raises BadInput, Clash."""
    if call.verdict not in VERDICTS:
        raise BadInput("must be approve or reject", field="verdict")
    if not call.semantic_sha256 or not call.inputs_sha256:
        raise BadInput(
            "must be the digests of the plan that was displayed",
            field="digests",
            fix="Show the plan, then vote on its digests.",
        )
    if operation.state is not State.PENDING_APPROVAL or operation.plan is None:
        raise Clash(f"The operation is {operation.state.value} and takes no votes.", field="operation")
    if (call.semantic_sha256, call.inputs_sha256) != (operation.plan.semantic_sha256, operation.plan.inputs_sha256):
        raise Clash(
            "The plan has changed since it was displayed.",
            field="digests",
            fix="Show the plan again and vote on what it says now.",
        )
    now = core.clock()
    asked = obligations_of(operation).approvals
    lifetime = asked.expires_in_seconds if asked is not None else core.timing.approval_expiry
    return Vote(
        operation=operation.id,
        voter=voter,
        verdict=call.verdict,
        semantic_sha256=call.semantic_sha256,
        inputs_sha256=call.inputs_sha256,
        policy_revision=core.policy.revision,
        comment=call.comment,
        at=now,
        expires_at=now + lifetime * 1000,
    )


async def four_eyes(core: Core, voter: Principal, operation: Operation) -> None:
    """Invariant 5, in code whatever policy says: no identity of the voter may stand behind the request. Raises Forbidden."""
    requester = operation.principal
    why = None
    if voter.kind is not PrincipalKind.HUMAN:
        why = Reason("lockgate.human_only", "Only humans vote", "This caller is not a human.", "Ask a human to vote.")
    elif identities(voter) & identities(requester):
        why = Reason(
            "lockgate.four_eyes",
            "No one approves their own",
            "You asked for this yourself, or it was asked on your behalf or by an agent of yours.",
            "Ask another approver to vote.",
        )
    elif requester.kind is PrincipalKind.AGENT and not (requester.owner or requester.on_behalf_of):
        why = Reason(
            "lockgate.unaccountable",
            "Nobody answers for this agent",
            "An agent without owner or on_behalf_of cannot obtain approvals.",
            "Give the agent's tokens an owner.",
        )
    if why is not None:
        await refuse(core, voter, operation, (why,), None)


async def entitled(core: Core, voter: Principal, operation: Operation) -> Asked:
    """Ask `approve`: may this human vote on this plan now? Raises Forbidden."""
    found = parts(core, operation)
    plan = await current_plan(core, operation)
    if found is None or plan is None or operation.plan is None:
        raise Clash("The action, target or plan is no longer what it was.", field="operation", fix="Ask again.")
    about = Subject(
        principal=voter,
        action=found[0],
        target=found[1],
        arguments=operation.intent["arguments"],
        reason=operation.intent["reason"],
        plan=plan_document(operation.plan, plan),
        operation=operation.id,
        requester=operation.principal,
    )
    asked = await ask(core, Question.APPROVE, about)
    if not asked.decision.allow:
        await refuse(core, voter, operation, asked.reasons, asked)
    return asked


async def refuse(
    core: Core, voter: Principal, operation: Operation, reasons: tuple[Reason, ...], asked: Asked | None
) -> None:
    """Record the refused vote, then raise Forbidden."""
    rules = [reason.rule for reason in reasons]
    entries = [EntryDraft(EntryKind.VOTE_REFUSED, operation.id, voter.id, {"rules": rules})]
    if asked is not None:
        entries.append(decision_entry(operation.id, voter.id, asked))
    await core.commit(Append(tuple(entries), core.clock(), (asked.record,) if asked is not None else ()))
    raise Forbidden(
        reasons[0].message if reasons else "Not allowed.",
        rules=tuple({"rule": r.rule, "title": r.title, "message": r.message, "fix": r.fix} for r in reasons),
        decision_id=asked.decision.id if asked else None,
    )


async def _counted(
    core: Core, operation: Operation, vote: Vote
) -> tuple[Operation, tuple[EntryDraft, ...], tuple[DecisionRecord, ...]]:
    if vote.verdict == "reject":
        # It reaches the agent that asked: who rejected stands in the vote, for people with `view`.
        reason = Reason("rejected", "Rejected", "A person rejected it.", "Have your owner ask why, then ask again.")
        ended = moved(operation, Event.REJECTED, core.clock(), reasons=(reason,), message=reason.message)
        return ended, (), ()
    verdict = await judge(core, operation, question=Question.APPLY, extra_votes=(vote,))
    after = await progress.approve(core, operation, verdict)
    after = replace(after, decision=verdict.asked.decision.id if verdict.asked else operation.decision)
    return after, (*decisions(after, verdict), entry(EntryKind.OPERATION_MOVED, after)), records(verdict, operation.id)


def _vote_entry(operation: Operation, vote: Vote) -> EntryDraft:
    body = {
        "verdict": vote.verdict,
        "semantic_sha256": vote.semantic_sha256,
        "inputs_sha256": vote.inputs_sha256,
        "expires_at": vote.expires_at,
        "policy_revision": vote.policy_revision,
        "token": vote.voter.token_id,
    }
    return EntryDraft(EntryKind.VOTE_CAST, operation.id, vote.voter.id, body)
