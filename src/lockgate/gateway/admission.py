"""Steps 1 to 4 of an operation: arrive, identify, decide, record. It must not answer anyone before the record is durable (invariant 6)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lockgate.contract.canonical import CanonicalError, canonical, digest, sha256
from lockgate.contract.codec import to_document
from lockgate.contract.decision import Question
from lockgate.contract.intent import Effect, Intent, Phase, Principal, PrincipalKind
from lockgate.contract.steps import step
from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.catalog.model import Action, Target
from lockgate.gateway.core import Core
from lockgate.gateway.doors import Call
from lockgate.gateway.errors import BadInput, Clash, Forbidden, TooMany, Unavailable, UnknownAction
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.questions import Asked, Subject, ask
from lockgate.gateway.operations.states import NEW, Event, State
from lockgate.gateway.store.port import Admit, Done, Existing, FindIdempotent

EPOCH_RACES = 5
RESERVED = frozenset({"target", "reason", "idempotency_key", "dry_run", "wait_seconds"})


@dataclass(frozen=True, slots=True)
class Arrived:
    """A call that passed every check that needs no policy: the intent with what it speaks of."""

    principal: Principal
    intent: Intent
    action: Action
    target: Target
    document: dict[str, Any]
    sha256: str

    @property
    def phase(self) -> Phase:
        """The first phase: reads have only one."""
        return Phase.READ if self.action.effect is Effect.READ else Phase.PLAN


async def admit(core: Core, principal: Principal, call: Call) -> Operation:
    """Steps 1 to 4 for one call, once. A denial is an operation too. Raises Refusals, then nothing was recorded."""
    began = core.clock()
    arrived = arrive(core, principal, call)
    known = await room(core, arrived)
    if known is not None:
        return known
    operation: Operation | None = None
    try:
        for _ in range(EPOCH_RACES):
            epoch = core.standing.epoch
            identify(core, principal, began)
            asked = await decide(core, arrived)
            operation = await record(core, arrived, asked, epoch)
            if operation is not None:
                return operation
    finally:
        leave_room(core, arrived, operation)
    raise Unavailable("Policy, catalog, revocations or budgets keep changing; nothing was recorded.", retry_after=1.0)


@step(1)
def arrive(core: Core, principal: Principal, call: Call) -> Arrived:
    """One Intent, validated against the action's closed JSON Schema. Raises BadInput naming the field, or UnknownAction."""
    catalog = core.catalog.current
    action = catalog.find_action(call.action)
    if action is None:
        raise unknown_action(call.action)
    for fault in action.faults(call.arguments, call.size):
        raise BadInput(fault.message, field=fault.field, fix=f"See the input schema of {action.name}.")
    own = {name: value for name, value in call.arguments.items() if name not in RESERVED}
    target = _target(core, principal, action, call.arguments.get("target"))
    intent = Intent(
        action=action.name,
        target=target.name,
        arguments=own,
        reason=call.arguments.get("reason", ""),
        idempotency_key=call.arguments.get("idempotency_key"),
        dry_run=call.arguments.get("dry_run", False),
    )
    return arrived_intent(principal, intent, action, target)


async def room(core: Core, arrived: Arrived) -> Operation | None:
    """A full queue is said before anything is decided; a repeated call still gets its own operation. Raises TooMany, Clash."""
    if await core.room.take(core.store, arrived.principal.tenant, core.caps.queued, core.clock()):
        return None
    scope = idempotency_scope(arrived)
    known = await core.store.read(FindIdempotent(scope)) if scope is not None else None
    if known is None:
        raise TooMany("The tenant's queue is full; nothing was recorded.", retry_after=5.0)
    return same_intent(arrived, known)


def leave_room(core: Core, arrived: Arrived, operation: Operation | None) -> None:
    """Only an operation that is queued keeps the place that `room` reserved."""
    queued = operation is not None and operation.state is State.QUEUED
    core.room.settle(arrived.principal.tenant, queued=queued)


def arrived_intent(principal: Principal, intent: Intent, action: Action, target: Target) -> Arrived:
    """Canonicalise an intent once. Raises BadInput for values that have no canonical form."""
    document = to_document(intent)
    try:
        data = canonical(document)
    except CanonicalError as error:
        raise BadInput(str(error), field="arguments") from None
    return Arrived(principal, intent, action, target, document, sha256(data))


@step(2)
def identify(core: Core, principal: Principal, since: int | None = None) -> None:
    """The token was verified at the door; here revocation and kind are looked at again, every time. Raises Forbidden.

    `since` (Unix ms, now if not given) is when the caller was last known to be good: whoever was revoked from then on is refused.
    """
    if principal.kind not in (PrincipalKind.AGENT, PrincipalKind.HUMAN):
        raise Forbidden("Runners do not ask for changes.")
    if core.revoked(principal, core.clock() if since is None else since):
        raise Forbidden("This token has been revoked.")


@step(3)
async def decide(core: Core, arrived: Arrived) -> Asked:
    """Ask `request`. No allow rule, no policy, a slow or broken engine: deny."""
    return await ask(
        core,
        Question.REQUEST,
        Subject(
            principal=arrived.principal,
            action=arrived.action,
            target=arrived.target,
            arguments=arrived.intent.arguments,
            reason=arrived.intent.reason,
            spends=arrived.action.effect is not Effect.READ and not arrived.intent.dry_run,
        ),
    )


@step(4)
async def record(core: Core, arrived: Arrived, asked: Asked, epoch: int) -> Operation | None:
    """One durable transaction: operation, decision, audit entries, budgets. None: epoch or budgets moved, decide again. Raises Clash, Unavailable."""
    operation = new_operation(core, arrived, asked)
    command = Admit(
        operation=operation,
        idempotency_scope=idempotency_scope(arrived),
        decision=replace(asked.record, operation=operation.id),
        entries=admission_entries(operation, asked),
        epoch=epoch,
        now=operation.created_at,
        claims=asked.claims,
        spends=asked.decision.allow,
    )
    outcome = await core.commit(command)
    if await core.overtaken(outcome):
        return None
    if isinstance(outcome, Existing):
        return same_intent(arrived, outcome.operation)
    if not isinstance(outcome, Done):
        raise Unavailable("The operation could not be recorded.", retry_after=1.0)
    return operation


def same_intent(arrived: Arrived, existing: Operation) -> Operation:
    """The operation an idempotency key already names. Raises Clash when it was another intent."""
    if existing.intent_sha256 != arrived.sha256:
        raise Clash(
            f"The idempotency_key was used before for another intent (operation {existing.id}).",
            field="idempotency_key",
            fix="Use a new idempotency_key for a new intent, or repeat the first call unchanged.",
        ).about(existing.id)
    return existing


def new_operation(core: Core, arrived: Arrived, asked: Asked) -> Operation:
    """The operation in the first place its decision leads to."""
    # A freeze or a closed window is no denial: the operation queues, and waits there saying for what.
    allowed = asked.decision.allow or asked.decision.waitable
    first = NEW[Event.ALLOWED if allowed else Event.DENIED, arrived.phase]
    now = core.clock()
    return Operation(
        id=core.new_id("op"),
        tenant=arrived.principal.tenant,
        action=arrived.action.name,
        target=arrived.target.name,
        lock=arrived.target.spec.lock,
        region=arrived.target.spec.region,
        effect=arrived.action.effect,
        principal=arrived.principal,
        intent=arrived.document,
        intent_sha256=arrived.sha256,
        action_sha256=arrived.action.sha256,
        target_sha256=arrived.target.sha256,
        dry_run=arrived.intent.dry_run,
        plan_of=arrived.intent.plan_of,
        state=first.to.state,
        phase=first.to.phase,
        version=1,
        effect_shown=first.effect if first.to.final else None,
        waiting_for=None if asked.decision.allow or not allowed else asked.decision.violations[0].rule,
        lease_retries=0,
        check_retries=0,
        fence=0,
        created_at=now,
        updated_at=now,
        deadline=now + core.timing.operation_deadline * 1000,
        decision=asked.decision.id,
        obligations=asked.decision.obligations.to_document(),
        plan=None,
        approval_expires_at=None,
        cancel_requested=False,
        message="" if allowed else asked.decision.violations[0].message,
        reasons=() if allowed else asked.reasons,
        output=None,
    )


def idempotency_scope(arrived: Arrived) -> str | None:
    """Tenant, issuer, subject, on_behalf_of and action scope a key (TRUST §6)."""
    key = arrived.intent.idempotency_key
    if key is None:
        return None
    who = arrived.principal
    return digest([who.tenant, who.issuer, who.subject, who.on_behalf_of, arrived.intent.action, key])


def admission_entries(operation: Operation, asked: Asked) -> tuple[EntryDraft, ...]:
    """What the log says of a request: who asked what, and what was decided."""
    who = operation.principal.id
    requested = {
        "action": operation.action,
        "target": operation.target,
        "intent_sha256": operation.intent_sha256,
        "kind": operation.principal.kind.value,
        "on_behalf_of": operation.principal.on_behalf_of,
        "token": operation.principal.token_id,
        "state": operation.state.value,
    }
    return (
        EntryDraft(EntryKind.OPERATION_REQUESTED, operation.id, who, requested),
        decision_entry(operation.id, who, asked),
    )


def decision_entry(operation: str | None, principal: str, asked: Asked) -> EntryDraft:
    """What the log says of a decision, and by digest of its record: of the input that was masked too, whose own digest names what is not kept."""
    decision, record = asked.decision, asked.record
    masked = {"kept_sha256": record.input.sha256} if record.masked and record.input is not None else {}
    return EntryDraft(
        EntryKind.DECISION_MADE,
        operation,
        principal,
        {
            "decision": decision.id,
            "question": decision.question.value,
            "allow": decision.allow,
            "rules": [violation.rule for violation in decision.violations],
            "revision": decision.revision,
            "input_sha256": decision.input_sha256,
            "engine": decision.engine,
            "record_sha256": record.sha256,
            **masked,
        },
    )


def unknown_action(name: str) -> UnknownAction:
    """A protocol-level 'no such tool': unlike a denial it is no operation."""
    return UnknownAction(
        f"There is no action {name[:64]!r} here for you.", field="action", fix="List the tools you may call."
    )


def _target(core: Core, principal: Principal, action: Action, name: str | None) -> Target:
    targets = {target.name: target for target in core.catalog.current.targets_of(action.name, principal.tenant)}
    if name is None and len(targets) == 1:
        return next(iter(targets.values()))
    if name is None or name not in targets:
        raise BadInput(
            "must name a target of this action" if name is None else f"{name[:64]!r} is no target of this action",
            field="target",
            fix=f"One of: {', '.join(sorted(targets)[:20]) or '(none)'}.",
        )
    return targets[name]
