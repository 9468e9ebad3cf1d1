"""Makes the grant and the work a lease hands to a runner, and the permit a start answers with; it must not grant more than was decided."""

from __future__ import annotations

from dataclasses import replace

from lockgate.contract.decision import Decision, Obligations
from lockgate.contract.drivers import declaration
from lockgate.contract.grant import (
    GRANT_TYPE,
    MAX_PERMIT_MS,
    PERMIT_TYPE,
    Grant,
    GrantedPlan,
    GrantedPolicy,
    Limits,
    Permit,
)
from lockgate.contract.intent import Phase
from lockgate.contract.signed import envelope_sha256, write_signed
from lockgate.contract.work import Work
from lockgate.gateway.catalog.model import Action, Target
from lockgate.gateway.core import Core
from lockgate.gateway.doors import RunnerPeer
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.judging import obligations_of
from lockgate.gateway.operations.model import Attempt, Operation
from lockgate.gateway.operations.states import State
from lockgate.gateway.store.port import EnvelopeRecord

GRANT_MARGIN_SECONDS = 120
BROKER_AUDIENCE = "runner"
VERSION = 1


def attempt_for(core: Core, operation: Operation, peer: RunnerPeer, poll_id: str, decision: Decision) -> Attempt:
    """A new attempt under the operation's next fence; its grant's digest is filled in once the grant exists."""
    now = core.clock()
    phase = Phase.VERIFY if operation.state is State.INDETERMINATE else operation.phase or Phase.PLAN
    return Attempt(
        id=core.new_id("at"),
        operation=operation.id,
        phase=phase,
        fence=operation.fence + 1,
        state=AttemptState.LEASED,
        runner=peer.runner,
        region=peer.region,
        poll_id=poll_id,
        lock=operation.lock if phase is Phase.APPLY else None,
        grant_sha256="",
        decision=decision.id,
        leased_at=now,
        lease_until=now + core.timing.lease * 1000,
        started_at=None,
        inputs_sha256=None,
        check_sha256=None,
        permit_id=None,
        receipt_sha256=None,
    )


def grant_for(
    core: Core, operation: Operation, attempt: Attempt, decision: Decision, target: Target, image: str | None
) -> tuple[Attempt, EnvelopeRecord]:
    """The signed grant of an attempt, and the attempt that names it. `image` is what its runner announced and policy was asked about."""
    applying = attempt.phase is Phase.APPLY and operation.plan is not None
    plan = operation.plan if applying else None
    demanded = obligations_of(operation).merge(decision.obligations)
    limits = bounded(target.spec.limits, demanded.max_seconds)
    grant = Grant(
        version=VERSION,
        deployment=core.keyset.deployment,
        dev=core.keyset.dev,
        tenant=operation.tenant,
        operation=operation.id,
        attempt=attempt.id,
        phase=attempt.phase,
        fence=attempt.fence,
        lease=attempt.poll_id,
        intent_sha256=operation.intent_sha256,
        action_sha256=operation.action_sha256,
        target_sha256=operation.target_sha256,
        inputs_sha256=plan.inputs_sha256 if plan else None,
        plan=GrantedPlan(plan.file_sha256, plan.semantic_sha256, plan.operation) if plan else None,
        policy=GrantedPolicy(decision.revision, decision.id),
        approvals=(),
        region=attempt.region,
        runner=attempt.runner,
        sandbox=demanded.merge(Obligations(sandbox=core.least_sandbox)).sandbox or core.least_sandbox,
        limits=limits,
        egress=egress_of(target),
        credential_scope=credential_scope(attempt.phase, demanded.credential_scope),
        issued_at=attempt.leased_at,
        not_after=attempt.leased_at + (2 * limits.wall_seconds + GRANT_MARGIN_SECONDS) * 1000,
        image=image,
    )
    envelope = write_signed(grant, GRANT_TYPE, core.grant_signer)
    named = replace(attempt, grant_sha256=envelope_sha256(envelope))
    return named, EnvelopeRecord(named.grant_sha256, "grant", operation.id, attempt.id, envelope)


def egress_of(target: Target) -> tuple[str, ...]:
    """Where an attempt's sandboxes may connect to: what its target names and what its driver declares; the runner may only narrow it."""
    return tuple(sorted({*target.spec.egress, *declaration(target.spec.driver).egress}))


def credential_scope(phase: Phase, obligation: str | None) -> str:
    """Write only for apply; an obligation can only narrow it."""
    if obligation == "none":
        return "none"
    return "write" if phase is Phase.APPLY and obligation != "read" else "read"


def bounded(limits: Limits, max_seconds: int | None) -> Limits:
    """The target's limits, cut to the decision's time obligation."""
    if max_seconds is None or max_seconds >= limits.wall_seconds:
        return limits
    return replace(limits, wall_seconds=max_seconds, cpu_seconds=min(limits.cpu_seconds, max_seconds))


def work_for(operation: Operation, action: Action, target: Target) -> Work:
    """What the grant speaks of, in full."""
    return Work(action=action.spec, target=target.spec, intent=operation.intent)


def permit_for(
    core: Core, attempt: Attempt, inputs_sha256: str, check_sha256: str | None
) -> tuple[Permit, EnvelopeRecord]:
    """The signed permit of a start that is about to be committed."""
    now = core.clock()
    permit = Permit(
        version=VERSION,
        deployment=core.keyset.deployment,
        id=core.new_id("pm"),
        grant_sha256=attempt.grant_sha256,
        operation=attempt.operation,
        attempt=attempt.id,
        fence=attempt.fence,
        phase=attempt.phase,
        inputs_sha256=inputs_sha256,
        check_sha256=check_sha256,
        audience=BROKER_AUDIENCE,
        issued_at=now,
        not_after=now + min(core.timing.permit * 1000, MAX_PERMIT_MS),
    )
    envelope = write_signed(permit, PERMIT_TYPE, core.grant_signer)
    return permit, EnvelopeRecord(envelope_sha256(envelope), "permit", attempt.operation, attempt.id, envelope)
