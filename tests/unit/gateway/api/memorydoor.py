"""Stands for the gateway's core behind the front doors: small, in memory, and checked against the Protocols it stands for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from lockgate.contract.intent import Effect, Phase, Principal, PrincipalKind
from lockgate.contract.runnerapi import (
    Ack,
    CredentialNote,
    Heartbeat,
    HeartbeatAnswer,
    LeaseAnswer,
    LeaseRequest,
    ReceiptNote,
    Report,
    StartAnswer,
    StartRequest,
    Stop,
)
from lockgate.gateway.catalog.toolschema import tool_schema
from lockgate.gateway.doors import Call, Details, Gone, HumanDoor, RunnerDoor, RunnerPeer, VoteCall
from lockgate.gateway.errors import BadInput, Clash, Forbidden, NotFound, TooMany, UnknownAction
from lockgate.gateway.identity.port import Audience, Unauthenticated
from lockgate.gateway.operations.explanation import Explanation, Moment
from lockgate.gateway.operations.locks import LockState
from lockgate.gateway.operations.model import Lock, Operation, PlanRecord, Reason
from lockgate.gateway.operations.states import EffectShown, State

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
HIDDEN = "threshold-of-others"


@dataclass(frozen=True)
class Offered:
    name: str
    effect: Effect
    idempotent: bool = False
    title: str = "A title"
    description: str = "What it does."

    @property
    def tool_schema(self) -> dict[str, Any]:
        arguments = {"type": "object", "properties": {"text": {"type": "string"}}, "additionalProperties": False}
        return tool_schema(arguments, self.effect, ["web-1", "web-2"])


def principal(kind: PrincipalKind = PrincipalKind.AGENT, subject: str = "bot") -> Principal:
    return Principal(
        kind, "https://issuer", subject, "default", None, "https://issuer#alice", (), "aud", "jti", None, 2**31
    )


def verify(token: str, audience: Audience) -> Principal:
    """Tokens are `agent`, `human`, `scopeless`, `other` (another agent) and `expiring`; each passes at its own door only."""
    if token == "scopeless":
        raise Unauthenticated("insufficient_scope", "the token lacks lockgate:agent")
    if audience is Audience.AGENT and token in ("other", "expiring"):
        found = principal(PrincipalKind.AGENT, f"{token}-1")
        return replace(found, expires_at=int(time.time()) + 1) if token == "expiring" else found
    if token != audience.value:
        raise Unauthenticated("invalid_token", "the token is for another audience")
    return principal(PrincipalKind(audience.value), f"{token}-1")


def plan() -> PlanRecord:
    return PlanRecord(DIGEST, DIGEST, OTHER, DIGEST, "predicted", ("hosts",), 1, 2, 0, 0, DIGEST, 5, "op_1")


def operation(who: Principal, action: str, arguments: dict[str, Any], state: State, **changes: Any) -> Operation:
    base = Operation(
        id="op_1",
        tenant="default",
        action=action,
        target=arguments.get("target", "web-1"),
        lock="web-1",
        region="local",
        effect=Effect.CHANGE,
        principal=who,
        intent={"action": action, "arguments": arguments},
        intent_sha256=DIGEST,
        action_sha256=DIGEST,
        target_sha256=DIGEST,
        dry_run=False,
        plan_of=None,
        state=state,
        phase=None,
        version=1,
        effect_shown=None,
        waiting_for=None,
        lease_retries=0,
        check_retries=0,
        fence=0,
        created_at=1,
        updated_at=1,
        deadline=2,
        decision="dec_1",
        obligations={"approvals": {"count": 2, "groups": [HIDDEN], "expires_in": 60}},
        plan=None,
        approval_expires_at=None,
        cancel_requested=False,
        message="",
        reasons=(),
        output=None,
    )
    return replace(base, **changes)


DENIAL = Reason("lockgate.rbac", "Not allowed", "Your role may not do that.", "Ask for the role operator.")


@dataclass
class MemoryDoor:
    """Outcome by the action's name; every call is kept in `calls`."""

    calls: list[Any] = field(default_factory=list)
    operations: dict[str, Operation] = field(default_factory=dict)
    output: str = "uptime 3 days"
    revoked: set[str] = field(default_factory=set)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    watches: list[asyncio.Future[None]] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)

    async def actions(self, principal: Principal) -> tuple[Any, ...]:
        if principal.subject in self.revoked:
            raise Forbidden("This token has been revoked.")
        names = {"wipe": Effect.DESTROY, "deploy": Effect.CHANGE, "status": Effect.READ, "forbidden": Effect.CHANGE}
        return tuple(Offered(name, effect) for name, effect in names.items() if name not in self.hidden)

    async def call(self, principal: Principal, call: Call) -> Operation:
        self.calls.append((principal, call))
        self.called.set()
        waits = bool(call.arguments.get("wait_seconds")) and call.gone is not None
        if waits and call.gone is not None:
            await asyncio.wait({call.gone()}, timeout=60)
        made = self._make(principal, call)
        made = replace(made, id=f"op_{len(self.operations) + 1}")
        self.operations[made.id] = made
        if waits and call.gone is not None and call.gone().done():
            self.left.set()
        return made

    def _make(self, who: Principal, call: Call) -> Operation:
        name, arguments = call.action, call.arguments
        match name:
            case "deploy" if arguments.get("dry_run"):
                return operation(who, name, arguments, State.PLANNED, plan=plan(), dry_run=True)
            case "deploy":
                return operation(who, name, arguments, State.QUEUED, phase=Phase.PLAN)
            case "wipe":
                return operation(who, name, arguments, State.PENDING_APPROVAL, plan=plan())
            case "status":
                return operation(who, name, arguments, State.SUCCEEDED, effect=Effect.READ, output=self.output)
            case "forbidden":
                return operation(who, name, arguments, State.DENIED, reasons=(DENIAL,), effect_shown=EffectShown.NONE)
            case "busy":
                raise TooMany("Too many calls.", retry_after=2.0)
            case "picky":
                raise BadInput("must be an integer", field="/count", fix="See the input schema of picky.")
            case "broken":
                raise ZeroDivisionError("inner detail that must not leak")
            case _:
                raise UnknownAction(f"There is no action {name[:64]!r} here for you.", field="action")

    async def apply_plan(self, principal: Principal, arguments: dict[str, Any], gone: Gone | None = None) -> Operation:
        self.calls.append((principal, arguments))
        return operation(principal, "deploy", arguments, State.QUEUED, phase=Phase.APPLY, plan=plan())

    async def get(
        self, principal: Principal, operation: str, wait_seconds: float = 0, gone: Gone | None = None
    ) -> Operation:
        self.calls.append((principal, operation, wait_seconds))
        if principal.subject in self.revoked:
            raise Forbidden("This token has been revoked.")
        found = self.operations.get(operation)
        if found is None or found.principal.id != principal.id:
            raise NotFound("No such operation.", field="operation_id")
        return found

    def watch(self, operations: Iterable[str]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.watches.append(future)
        return future

    def move(self, operation: str, state: State, **changes: Any) -> None:
        """The operation is in another state now; who watches is woken."""
        found = self.operations[operation]
        self.operations[operation] = replace(found, state=state, phase=None, version=found.version + 1, **changes)
        self.stir()

    def stir(self) -> None:
        """Wake who watches."""
        for future in self.watches:
            if not future.done():
                future.set_result(None)
        self.watches.clear()

    async def explain(self, principal: Principal, operation: str) -> Explanation:
        return Explanation(await self.get(principal, operation), (Moment(1, "operation.requested", "Asked."),))

    async def cancel(self, principal: Principal, operation: str) -> Operation:
        found = replace(await self.get(principal, operation), state=State.CANCELLED, phase=None)
        self.operations[operation] = found
        return found

    async def list(
        self, principal: Principal, *, states: tuple[str, ...], target: str | None, before: str | None, limit: int
    ) -> tuple[Operation, ...]:
        self.calls.append((states, target, before, limit))
        return tuple(self.operations.values())[:limit]

    async def show(self, principal: Principal, operation: str) -> Details:
        return Details(await self.get(principal, operation), (), (), (), (), {"version": 1}, ())

    async def vote(self, principal: Principal, vote: VoteCall) -> Operation:
        self.calls.append(vote)
        found = await self.get(principal, vote.operation)
        if vote.semantic_sha256 != OTHER:
            raise Clash("The plan is no longer that one.", field="digests.semantic_sha256")
        return replace(found, state=State.QUEUED, phase=Phase.APPLY)

    async def resolve(self, principal: Principal, operation: str, outcome: str, reason: str) -> Operation:
        self.calls.append((operation, outcome, reason))
        return replace(await self.get(principal, operation), state=State.SUCCEEDED)

    async def locks(self, principal: Principal) -> tuple[Lock, ...]:
        return (Lock("web-1", LockState.QUARANTINED, "at_1", 5),)

    async def targets(self, principal: Principal) -> tuple[dict[str, Any], ...]:
        return ({"name": "web-1", "driver": "runbook", "lock_state": "free"},)

    async def unlock(self, principal: Principal, target: str, reason: str) -> Lock:
        self.calls.append((target, reason))
        return Lock(target, LockState.FREE, None, 6)

    async def freeze(self, principal: Principal, scope: str, frozen: bool, reason: str) -> None:
        self.calls.append((scope, frozen, reason))
        if scope == "tenant:other":
            rule = {"rule": "lockgate.admin", "title": "Admin", "message": "Not you.", "fix": "Ask an admin."}
            raise Forbidden("You may not do that.", rules=(rule,), decision_id="dec_9")

    async def revoke(self, principal: Principal, kind: str, subject: str, reason: str) -> None:
        self.calls.append((kind, subject, reason))

    async def audit(
        self, principal: Principal, since: int, limit: int, operation: str | None
    ) -> tuple[dict[str, Any], ...]:
        return tuple({"seq": seq, "kind": "alarm"} for seq in range(since, min(since + limit, 5)))

    async def checkpoint(self, principal: Principal) -> str:
        return "{}"

    async def friction(self, principal: Principal, window_seconds: int, collapse: bool) -> dict[str, Any]:
        self.calls.append((window_seconds, collapse))
        return {
            **dict.fromkeys(("asked", "denied", "rejected", "waiting"), 0),
            **{"since": "2026-11-20T00:00:00Z", "until": "2026-11-27T00:00:00Z", "share": None},
            **{"collapsed": collapse, "cut": False, "objective": {"below": 0.02, "met": None}},
            **{name: [] for name in ("rules", "actions", "agents", "days")},
        }

    async def shadow(self, principal: Principal) -> dict[str, Any]:
        return {"on": False, "error": None}

    async def budgets(self, principal: Principal) -> tuple[dict[str, Any], ...]:
        numbers = {"window_seconds": 3600, "limit": 5}
        used = [{"who": "https://idp.example#bot", "used": 5}]
        return ({"name": "hourly", "per": "principal", "counts": "operations", **numbers, "used": used},)

    async def health(self) -> dict[str, Any]:
        return {"ready": True, "dev": True, "unsafe": ["no-sandbox"]}


@dataclass
class MemoryRunnerDoor:
    """Keeps what it was asked."""

    calls: list[Any] = field(default_factory=list)

    def _note(self, *call: Any) -> Ack:
        self.calls.append(call)
        return Ack("running")

    async def lease(self, peer: RunnerPeer, request: LeaseRequest) -> LeaseAnswer:
        self._note("lease", peer, request)
        return LeaseAnswer(None, "checkpoint", ("ab",))

    async def heartbeat(self, peer: RunnerPeer, attempt: str, beat: Heartbeat) -> HeartbeatAnswer:
        self._note("heartbeat", peer, attempt, beat)
        return HeartbeatAnswer(False, 30)

    async def give_back(self, peer: RunnerPeer, attempt: str, stop: Stop) -> Ack:
        return self._note("give-back", peer, attempt, stop)

    async def refuse(self, peer: RunnerPeer, attempt: str, stop: Stop) -> Ack:
        return self._note("refuse", peer, attempt, stop)

    async def start(self, peer: RunnerPeer, attempt: str, request: StartRequest) -> StartAnswer:
        self._note("start", peer, attempt, request)
        if attempt == "at_late":
            raise Clash("already started")
        return StartAnswer("permit", False, None)

    async def credential(self, peer: RunnerPeer, attempt: str, note: CredentialNote) -> Ack:
        return self._note("credential", peer, attempt, note)

    async def report(self, peer: RunnerPeer, attempt: str, report: Report) -> Ack:
        return self._note("report", peer, attempt, report)

    async def receipt(self, peer: RunnerPeer, attempt: str, note: ReceiptNote) -> Ack:
        return self._note("receipt", peer, attempt, note)


# mypy holds the doubles against the doors they stand for.
_HUMAN: type[HumanDoor] = MemoryDoor
_RUNNER: type[RunnerDoor] = MemoryRunnerDoor
