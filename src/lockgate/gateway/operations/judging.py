"""Decides again: is what was asked still allowed, under the epoch of now? It must answer the same way for lease, start and vote."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from lockgate.contract.decision import Obligations, Question
from lockgate.contract.intent import Effect, Phase
from lockgate.contract.plan import PlanDocument, read_plan
from lockgate.gateway.approvals.quorum import enough
from lockgate.gateway.catalog.model import Action, Target
from lockgate.gateway.core import Core
from lockgate.gateway.operations.model import Operation, Reason, Vote
from lockgate.gateway.operations.questions import Asked, Subject, Where, ask, plan_document
from lockgate.gateway.operations.spending import spends
from lockgate.gateway.operations.states import Event, State
from lockgate.gateway.store.port import GetPlanBytes, VotesOf

APPROVALS_RULE = "approvals"
_SMALL_PLAN = 64 << 10

CATALOG_CHANGED = Reason(
    "lockgate.catalog_changed",
    "The catalog changed",
    "The action or target is no longer defined as it was when this was asked.",
    "Ask again: the call is then checked against the catalog of now.",
)
REVOKED = Reason(
    "lockgate.revoked",
    "The caller was revoked",
    "The token or principal that asked for this has been revoked.",
    "Ask an administrator why; a new operation needs a token that is not revoked.",
)
TOO_FEW_VOTES = Reason(
    APPROVALS_RULE,
    "Approval missing",
    "Fewer humans have approved this plan than was asked for.",
    "Ask further approvers to vote on the current plan.",
)
READ_HELD = Reason(
    APPROVALS_RULE,
    "A read cannot be approved",
    "Policy asks for human approval, and a read has no plan that a human could approve.",
    "Ask an administrator: a policy either allows a read or denies it.",
)
PLAN_LOST = Reason(
    "lockgate.plan_missing",
    "The plan is not in the store",
    "The canonical plan of this operation cannot be read.",
    "Ask again; report it with the operation id if it happens again.",
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """`event` None means go on; else DENIED, WAITS or APPROVAL_MISSING, with the reasons. `asked` is None when policy was not reached."""

    event: Event | None
    reasons: tuple[Reason, ...] = ()
    asked: Asked | None = None
    action: Action | None = None
    target: Target | None = None
    votes: tuple[Vote, ...] = ()

    @property
    def waiting_for(self) -> str | None:
        """The rule that makes it wait."""
        return self.reasons[0].rule if self.event is Event.WAITS and self.reasons else None


async def judge(
    core: Core,
    operation: Operation,
    *,
    question: Question,
    extra_votes: tuple[Vote, ...] = (),
    where: Where | None = None,
) -> Judgement:
    """Ask `question` (request, plan or apply) about an operation as it stands. Anything unknown is a denial."""
    found = parts(core, operation)
    if found is None:
        return Judgement(Event.DENIED, (CATALOG_CHANGED,))
    if core.revoked(operation.principal, operation.created_at):
        return Judgement(Event.DENIED, (REVOKED,))
    action, target = found
    document: dict[str, Any] | None = None
    votes: tuple[Vote, ...] = ()
    if question in (Question.PLAN, Question.APPLY) and operation.plan is not None:
        plan = await current_plan(core, operation)
        if plan is None:
            return Judgement(Event.DENIED, (PLAN_LOST,))
        document = plan_document(operation.plan, plan)
        cast = await core.store.read(VotesOf(operation.id)) + extra_votes
        # Whoever was revoked after voting is no longer someone whose vote counts (invariant 14).
        votes = tuple(vote for vote in cast if not core.revoked(vote.voter, vote.at))
    about = Subject(
        principal=operation.principal,
        action=action,
        target=target,
        arguments=operation.intent["arguments"],
        reason=operation.intent["reason"],
        plan=document,
        votes=votes,
        operation=operation.id,
        # A look changes nothing, and what is unknown counts already.
        spends=spends(operation) and operation.state is not State.INDETERMINATE,
        where=where,
    )
    judgement = _judged(await ask(core, question, about), action, target, votes)
    if operation.effect is Effect.READ and judgement.event is None and judgement.asked is not None:
        if obligations_of(operation).merge(judgement.asked.decision.obligations).approvals is not None:
            return replace(judgement, event=Event.DENIED, reasons=(READ_HELD,))
        return judgement
    if question is Question.APPLY and judgement.event is None and not _approved(core, operation, judgement):
        return replace(judgement, event=Event.APPROVAL_MISSING, reasons=(TOO_FEW_VOTES,))
    return judgement


def question_of(phase: Phase | None) -> Question:
    """What is asked before an attempt of a phase."""
    return Question.APPLY if phase is Phase.APPLY else Question.REQUEST


def parts(core: Core, operation: Operation) -> tuple[Action, Target] | None:
    """The action and target, if they are still what they were when the operation was recorded."""
    catalog = core.catalog.current
    action, target = catalog.actions.get(operation.action), catalog.targets.get(operation.target)
    if action is None or target is None or target.tenant != operation.tenant:
        return None
    if (action.sha256, target.sha256) != (operation.action_sha256, operation.target_sha256):
        return None
    return action, target


async def current_plan(core: Core, operation: Operation) -> PlanDocument | None:
    """The canonical plan of an operation, its own or that of the operation it applies."""
    data = await plan_bytes(core, operation)
    if data is None or len(data) <= _SMALL_PLAN:
        return read_plan(data) if data is not None else None
    # A plan may take seconds to read; nobody else waits for that meanwhile.
    return await asyncio.to_thread(read_plan, data)


async def plan_bytes(core: Core, operation: Operation) -> bytes | None:
    """The canonical plan bytes by their digest, under the operation that planned them."""
    if operation.plan is None:
        return None
    return await core.store.read(GetPlanBytes(operation.plan.operation, operation.plan.semantic_sha256))


def obligations_of(operation: Operation) -> Obligations:
    """Obligations of all questions so far."""
    return Obligations.from_document(operation.obligations or {})


def _approved(core: Core, operation: Operation, judgement: Judgement) -> bool:
    """What an earlier question asked for stays asked for, even where `apply` alone would let it pass."""
    if judgement.asked is None:
        return False
    merged = obligations_of(operation).merge(judgement.asked.decision.obligations)
    return enough(operation, judgement.votes, merged.approvals, core.clock())


def _judged(asked: Asked, action: Action, target: Target, votes: tuple[Vote, ...]) -> Judgement:
    decision = asked.decision
    judgement = Judgement(None, asked.reasons, asked, action, target, votes)
    if decision.allow:
        return judgement
    if not decision.waitable:
        return replace(judgement, event=Event.DENIED)
    rules = {violation.rule for violation in decision.violations}
    if APPROVALS_RULE in rules:
        return replace(judgement, event=Event.APPROVAL_MISSING)
    return replace(judgement, event=Event.WAITS)
