"""Puts a question to policy: builds the input document, asks, and makes the record. It must not soften an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lockgate.contract.codec import to_document
from lockgate.contract.decision import Decision, Question
from lockgate.contract.intent import Principal
from lockgate.contract.plan import PlanDocument
from lockgate.gateway.catalog.model import Action, Target
from lockgate.gateway.core import Core
from lockgate.gateway.operations.inputs import KeptInput, keep_input
from lockgate.gateway.operations.model import DecisionRecord, PlanRecord, Reason, Vote
from lockgate.gateway.operations.past import QUESTIONS, Moment, Told, tell
from lockgate.gateway.operations.timestamps import rfc3339
from lockgate.gateway.store.port import Claim
from lockgate.policy.input import build_input
from lockgate.policy.needs import NOTHING
from lockgate.policy.port import PolicyEngine
from lockgate.policy.schemas import DocumentRefused


@dataclass(frozen=True, slots=True)
class Asked:
    """A decision with the record that keeps it, and the input that was evaluated. `claims` must hold in the transaction that acts on it."""

    decision: Decision
    record: DecisionRecord
    claims: tuple[Claim, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The rules that said no, in words."""
        return tuple(Reason(v.rule, v.title, v.message, v.fix) for v in self.decision.violations)


@dataclass(frozen=True, slots=True)
class Where:
    """Where an attempt would run: the digest of its sandboxes' image, as its runner announced it and its grant binds it; None where they have none."""

    image: str | None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a question is about; parts that do not apply are None or empty. `spends`: it may come to change something. `where` is known from the lease on."""

    principal: Principal
    action: Action | None = None
    target: Target | None = None
    arguments: Mapping[str, Any] | None = None
    reason: str | None = None
    plan: dict[str, Any] | None = None
    votes: tuple[Vote, ...] = ()
    operation: str | None = None
    requester: Principal | None = None
    spends: bool = False
    where: Where | None = None


async def ask(core: Core, question: Question, about: Subject) -> Asked:
    """Ask one question now. Never raises for what policy does: a fault is a denial (invariant 4)."""
    now = core.clock()
    engine, told = await _told(core, question, about, now)
    document: Mapping[str, Any] = build_input(
        question=question,
        tenant=about.principal.tenant,
        subject=subject_document(about.principal),
        action=action_document(about.action),
        target=target_document(about.target),
        arguments=dict(about.arguments or {}),
        reason=about.reason,
        plan=about.plan,
        approvals=vote_documents(about.votes, about.plan),
        context={**_context(core, about, now), **told.context},
    )
    document, hidden = core.masking.hidden(document, about.action.spec.sensitive if about.action is not None else ())
    decision = await core.observer.decide(engine, question, document)
    if core.shadow is not None:
        # After the fact, with nothing coming back: MUST NOT change what is answered (tests/unit/gateway/core/test_shadowing.py).
        core.shadow.offer(question, document, decision, engine.needs)
    kept, said, masked = core.masking.masked(document, decision.to_document())
    record = DecisionRecord(
        id=decision.id,
        tenant=about.principal.tenant,
        operation=about.operation,
        question=question.value,
        allow=decision.allow,
        document=said,
        input=await _kept(kept, decision.evaluated if kept is document else b""),
        at=now,
        hidden=hidden,
        masked=masked,
    )
    return Asked(decision, record, told.claims if decision.allow else (), document)


async def _kept(document: Mapping[str, Any], evaluated: bytes) -> KeptInput | None:
    """The input for its record; None for what is no JSON: then it was refused, not evaluated."""
    try:
        if not document["plan"]:
            return keep_input(document, evaluated)
        # With a plan it is compressed: nobody else waits for that meanwhile.
        return await asyncio.to_thread(keep_input, document, evaluated)
    except DocumentRefused:
        return None


async def _told(core: Core, question: Question, about: Subject, now: int) -> tuple[PolicyEngine, Told]:
    """What the engine in force needs to know of the past; read again when it is another one meanwhile, or wants something else: that of an OPA server does."""
    while True:
        engine = core.engine
        needs = engine.needs
        if question not in QUESTIONS or needs == NOTHING or about.action is None or about.target is None:
            return engine, Told({})
        moment = Moment(about.principal, about.action, about.target, now, about.operation, about.spends, about.plan)
        told = await tell(core.store, needs, core.selected.of(core.catalog.current), moment)
        if engine is core.engine and needs.same_as(engine.needs):
            return engine, told


def subject_document(principal: Principal) -> dict[str, Any]:
    """`subject` of policy input v1."""
    return {
        **principal_document(principal),
        "roles": list(principal.roles),
        "authentication": {"method": "jwt", "audience": principal.audience, "auth_time": principal.auth_time},
    }


def principal_document(principal: Principal) -> dict[str, Any]:
    """Who someone is, without how they came."""
    return {
        "id": principal.id,
        "issuer": principal.issuer,
        "subject": principal.subject,
        "kind": principal.kind.value,
        "owner": principal.owner,
        "on_behalf_of": principal.on_behalf_of,
    }


def action_document(action: Action | None) -> dict[str, Any] | None:
    """`action` of policy input v1."""
    if action is None:
        return None
    spec = action.spec
    return {"name": spec.name, "driver": spec.driver, "effect": spec.effect.value, "risk": spec.risk}


def target_document(target: Target | None) -> dict[str, Any] | None:
    """`target` of policy input v1."""
    if target is None:
        return None
    spec = target.spec
    return {"name": spec.name, "environment": spec.environment, "region": spec.region, "labels": dict(spec.labels)}


def plan_document(record: PlanRecord, plan: PlanDocument) -> dict[str, Any]:
    """`plan` of policy input v1, from what the gateway itself recomputed from the canonical bytes; of exact fidelity with the rest of the tool's
    JSON plan beside it, so that published rules for Terraform find `planned_values`, `configuration` and the like."""
    return {
        **(plan.document or {}),
        "digests": {
            "file_sha256": record.file_sha256,
            "inputs_sha256": record.inputs_sha256,
            "semantic_sha256": record.semantic_sha256,
        },
        "fidelity": plan.fidelity.value,
        "incomplete": bool(plan.incomplete),
        "summary": to_document(plan.summary),
        "resource_changes": list(plan.resource_changes),
        "provisioners": list(plan.provisioners),
        "providers": list(plan.providers),
    }


def vote_documents(votes: tuple[Vote, ...], plan: dict[str, Any] | None) -> list[dict[str, Any]]:
    """`approvals` of policy input v1: only votes on exactly this plan; policy looks at expiry and at who may vote now."""
    if plan is None:
        return []
    digests = plan["digests"]
    return [
        {
            "voter": {**principal_document(vote.voter), "roles": list(vote.voter.roles)},
            "verdict": vote.verdict,
            "digests": digests,
            "expires_at": rfc3339(vote.expires_at),
        }
        for vote in votes
        if (vote.semantic_sha256, vote.inputs_sha256) == (digests["semantic_sha256"], digests["inputs_sha256"])
    ]


def _context(core: Core, about: Subject, now: int) -> dict[str, Any]:
    target = about.target.name if about.target else ""
    context: dict[str, Any] = {
        "now": rfc3339(now),
        "freeze": core.standing.is_frozen(about.principal.tenant, target),
        "requester": principal_document(about.requester) if about.requester is not None else None,
    }
    if about.where is not None:
        context["image"] = about.where.image
    return context
