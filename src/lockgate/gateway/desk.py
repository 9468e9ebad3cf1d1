"""The core behind the agents' door: calls, looks and cancellations; every look-up answers alike for unknown and someone else's."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from lockgate.contract.decision import Question
from lockgate.contract.intent import Effect, Intent, Phase, Principal, PrincipalKind
from lockgate.gateway.admission import (
    EPOCH_RACES,
    admit,
    arrived_intent,
    decision_entry,
    idempotency_scope,
    identify,
    leave_room,
    room,
    same_intent,
)
from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.catalog.model import Action
from lockgate.gateway.catalog.toolschema import tool_schema
from lockgate.gateway.core import Core
from lockgate.gateway.doors import Call, Gone
from lockgate.gateway.errors import BadInput, Clash, Forbidden, NotFound, Unavailable
from lockgate.gateway.operations.advice import APPLY_PLAN
from lockgate.gateway.operations.changes import end_entry, moved
from lockgate.gateway.operations.explanation import Explanation, for_agent
from lockgate.gateway.operations.judging import parts
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.questions import Asked, Subject, ask
from lockgate.gateway.operations.replan import admit_plan
from lockgate.gateway.operations.states import Event, Place, State
from lockgate.gateway.scheduling.rates import Rates
from lockgate.gateway.scheduling.wakeups import Wakeups, until
from lockgate.gateway.store.port import AuditEntries, Done, FindIdempotent, GetOperation, Transition

MAX_WAIT = 60.0
LIST_CACHE = 1000
RESTING = frozenset({State.PENDING_APPROVAL, State.INDETERMINATE})
"""Where an operation stays until a human acts; who waits is answered when it comes to rest there, but not because it rested there before."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An action as one caller may ask for it: `tool_schema` names only the targets this caller may address."""

    action: Action
    tool_schema: dict[str, Any]

    @property
    def name(self) -> str:
        """The action's name."""
        return self.action.name

    @property
    def title(self) -> str:
        """Its title for people."""
        return self.action.title

    @property
    def description(self) -> str:
        """What it does, for agents."""
        return self.action.description

    @property
    def effect(self) -> Effect:
        """What it may do to its target."""
        return self.action.effect

    @property
    def idempotent(self) -> bool:
        """Whether twice is as once."""
        return self.action.idempotent


class AgentDesk:
    """Implements gateway.doors.AgentDoor over a Core."""

    def __init__(self, core: Core, wakeups: Wakeups, rates: Rates) -> None:
        self._core = core
        self._wakeups = wakeups
        self._rates = rates
        self._visible: OrderedDict[tuple[object, ...], tuple[Offer, ...]] = OrderedDict()

    async def actions(self, principal: Principal) -> tuple[Offer, ...]:
        """See AgentDoor.actions."""
        core = self._core
        identify(core, principal)
        who = (principal.id, principal.kind, principal.roles, principal.on_behalf_of, principal.owner)
        key = (core.standing.epoch, core.catalog.current.revision, core.deciding, principal.tenant, who)
        found = self._visible.get(key)
        if found is None:
            found = await self._ask_visible(principal)
            self._visible[key] = found
            while len(self._visible) > LIST_CACHE:
                self._visible.popitem(last=False)
        return found

    async def _ask_visible(self, principal: Principal) -> tuple[Offer, ...]:
        visible = []
        catalog = self._core.catalog.current
        for action in catalog.actions_of(principal.tenant):
            names = []
            for target in catalog.targets_of(action.name, principal.tenant):
                about = Subject(principal=principal, action=action, target=target)
                if (await ask(self._core, Question.LIST, about)).decision.allow:
                    names.append(target.name)
            if names:
                visible.append(Offer(action, tool_schema(action.arguments, action.effect, names)))
        return tuple(visible)

    async def call(self, principal: Principal, call: Call) -> Operation:
        """See AgentDoor.call."""
        operation = await self._core.observer.call(principal, call.action, self._admit(principal, call))
        return await self._wait(operation, float(call.arguments.get("wait_seconds", 0)), call.gone)

    async def _admit(self, principal: Principal, call: Call) -> Operation:
        self._rates.take(principal.id)
        return await admit(self._core, principal, call)

    async def apply_plan(self, principal: Principal, arguments: dict[str, Any], gone: Gone | None = None) -> Operation:
        """See AgentDoor.apply_plan: a new operation with its own reason and key that enters at step 8."""
        operation = await self._core.observer.call(principal, APPLY_PLAN, self._admit_plan(principal, arguments))
        return await self._wait(operation, float(arguments.get("wait_seconds", 0)), gone)

    async def _admit_plan(self, principal: Principal, arguments: dict[str, Any]) -> Operation:
        began = self._core.clock()
        self._rates.take(principal.id)
        planned = await self.own(principal, str(arguments["operation_id"]))
        if planned.state is not State.PLANNED or planned.plan is None:
            raise Clash(
                f"Operation {planned.id} is {planned.state.value}; only a planned one can be applied.",
                field="operation_id",
                fix="Call the action with dry_run first; only what that planned can be applied.",
            ).about(planned.id)
        if arguments["semantic_sha256"] != planned.plan.semantic_sha256:
            raise BadInput(
                "is not the digest of that operation's plan",
                field="semantic_sha256",
                fix="Use plan.digests.semantic_sha256 as it was answered.",
            )
        found = parts(self._core, planned)
        if found is None:
            raise Clash("The action or target changed since it was planned.", field="operation_id", fix="Plan again.")
        intent = Intent(
            action=planned.action,
            target=planned.target,
            arguments=planned.intent["arguments"],
            reason=str(arguments["reason"]),
            idempotency_key=arguments.get("idempotency_key"),
            dry_run=False,
            plan_of=planned.id,
            plan_semantic_sha256=planned.plan.semantic_sha256,
        )
        arrived = arrived_intent(principal, intent, *found)
        scope = idempotency_scope(arrived)
        existing = await self._core.store.read(FindIdempotent(scope)) if scope else None
        if existing is not None:
            return same_intent(arrived, existing)
        existing = await room(self._core, arrived)
        if existing is not None:
            return existing
        operation: Operation | None = None
        try:
            for _ in range(EPOCH_RACES):
                operation = await admit_plan(self._core, arrived, planned, began)
                if operation is not None:
                    return operation
        finally:
            leave_room(self._core, arrived, operation)
        raise Unavailable("Policy keeps changing; nothing was recorded.", retry_after=1.0)

    async def get(
        self, principal: Principal, operation: str, wait_seconds: float = 0, gone: Gone | None = None
    ) -> Operation:
        """See AgentDoor.get."""
        identify(self._core, principal)
        return await self._wait(await self.own(principal, operation), wait_seconds, gone)

    def watch(self, operations: Iterable[str]) -> asyncio.Future[None]:
        """See AgentDoor.watch."""
        return self._wakeups.watch_all(operations)

    async def own(self, principal: Principal, operation: str) -> Operation:
        """The caller's own operation; NotFound for all else, so that nobody learns what exists."""
        found = await self._core.store.read(GetOperation(operation[:128]))
        if found is None or found.tenant != principal.tenant or not _is_own(found, principal):
            raise not_found()
        return found

    async def explain(self, principal: Principal, operation: str) -> Explanation:
        """See AgentDoor.explain."""
        identify(self._core, principal)
        found = await self.own(principal, operation)
        entries = await self._core.store.read(AuditEntries(operation=found.id))
        return for_agent(found, entries, self._core.engine.bundle.rules)

    async def cancel(self, principal: Principal, operation: str) -> Operation:
        """See AgentDoor.cancel."""
        identify(self._core, principal)
        found = await self.own(principal, operation)
        return await cancel(self._core, principal, found)

    async def _wait(self, operation: Operation, seconds: float, gone: Gone | None) -> Operation:
        """The operation once it comes to rest (an end, or a human is due), or as it is when the time is over or the client has left.

        Who looks at one that a human is due for already knows that: a caller that follows `next` at once would spin.
        """
        loop_end = self._core.clock() + int(min(max(seconds, 0.0), MAX_WAIT) * 1000)
        known = operation.state if operation.state in RESTING else None
        while not operation.place.final and (operation.state not in RESTING or operation.state is known):
            left = (loop_end - self._core.clock()) / 1000
            if left <= 0 or (gone is not None and gone().done()):
                break
            watch = self._wakeups.watch(operation.id)
            newer = await self._core.store.read(GetOperation(operation.id))
            if newer is None or newer.version == operation.version:
                await until(watch, left, gone() if gone is not None else None)
                newer = await self._core.store.read(GetOperation(operation.id))
            watch.cancel()
            operation = newer if newer is not None else operation
            known = known if operation.state is known else None
        return operation


def not_found() -> NotFound:
    """The one answer for an operation that does not exist and one that is someone else's."""
    return NotFound(
        "There is no such operation for you.", field="operation_id", fix="Use an operation_id that was answered to you."
    )


async def cancel(core: Core, principal: Principal, operation: Operation, permitted: Asked | None = None) -> Operation:
    """End it where nothing can have changed yet; note the wish where the world may be changing. Raises Clash, Unavailable.

    `permitted` is the decision by which someone may cancel what is not their own; it is recorded with what it permits.
    """
    allowed = (decision_entry(operation.id, principal.id, permitted),) if permitted is not None else ()
    for _ in range(EPOCH_RACES):
        if operation.place.final or operation.cancel_requested:
            return operation
        only_noted = operation.state is State.INDETERMINATE or operation.place == Place(State.RUNNING, Phase.APPLY)
        if only_noted:
            after = moved_note(operation, core.clock())
        else:
            after = moved(operation, Event.CANCELLED, core.clock(), message=f"Cancelled by {principal.subject}.")
        wish = EntryDraft(
            EntryKind.CANCEL_REQUESTED,
            operation.id,
            principal.id,
            {"state": operation.state.value, "noted": only_noted},
        )
        outcome = await core.commit(
            Transition(
                now=core.clock(),
                entries=(*allowed, wish, *end_entry(after)),
                operation=after,
                expected_version=operation.version,
                decisions=(permitted.record,) if permitted is not None else (),
            )
        )
        if isinstance(outcome, Done):
            return after
        newer = await core.store.read(GetOperation(operation.id))
        operation = newer if newer is not None else operation
    raise Clash("The operation keeps moving; cancel again.", field="operation_id")


def moved_note(operation: Operation, now: int) -> Operation:
    """The operation with the wish to cancel noted."""
    return replace(operation, cancel_requested=True, version=operation.version + 1, updated_at=now)


def _is_own(operation: Operation, principal: Principal) -> bool:
    mine = (operation.principal.id, operation.principal.on_behalf_of) == (principal.id, principal.on_behalf_of)
    return mine and operation.principal.kind is principal.kind


def require_human(principal: Principal) -> None:
    """Administrative calls need kind human (TRUST §6). Raises Forbidden."""
    if principal.kind is not PrincipalKind.HUMAN:
        raise Forbidden("Only humans may do this; this token is an agent's.")
