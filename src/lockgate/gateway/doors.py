"""What the front doors (MCP, REST, the runner-facing API) may ask of the gateway's core; they translate only and decide nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from lockgate.contract.intent import Principal
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
from lockgate.gateway.operations.explanation import Explanation
from lockgate.gateway.operations.model import Attempt, DecisionRecord, Lock, Operation, Vote


@dataclass(frozen=True, slots=True)
class RunnerPeer:
    """Who a runner's client certificate says it is (SPIFFE-style URI SAN)."""

    deployment: str
    tenant: str
    region: str
    runner: str


Gone = Callable[[], asyncio.Future[None]]
"""Gives a future that is done when the client has left. That ends a wait, never an operation; asked for only where something waits."""


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call as received: `arguments` still holds the reserved names (target, reason, idempotency_key, dry_run, wait_seconds)."""

    action: str
    arguments: dict[str, Any]
    size: int
    """Bytes of the request body, for the limits."""
    gone: Gone | None = None


@dataclass(frozen=True, slots=True)
class VoteCall:
    """A human's vote: `digests` are those of what that human's client displayed."""

    operation: str
    verdict: str
    semantic_sha256: str
    inputs_sha256: str
    comment: str


@dataclass(frozen=True, slots=True)
class Details:
    """Everything a human with `view` may see of one operation."""

    operation: Operation
    attempts: tuple[Attempt, ...]
    votes: tuple[Vote, ...]
    decisions: tuple[DecisionRecord, ...]
    envelopes: tuple[dict[str, Any], ...]
    """Each {sha256, kind, attempt, payload (parsed), envelope (text)}."""
    plan: dict[str, Any] | None
    entries: tuple[dict[str, Any], ...]
    """This operation's audit entries in order: {seq, time, kind, principal, body}."""


class AgentDoor(Protocol):
    """For agents (MCP). Every method raises `Refusal`s (gateway.errors) and nothing else expected."""

    async def actions(self, principal: Principal) -> tuple[Any, ...]:
        """The catalog actions (gateway.catalog.model.Action) this caller may see, by policy question `list`, in name order; cached by epoch and principal."""
        ...

    async def call(self, principal: Principal, call: Call) -> Operation:
        """Steps 1 to 4 for one call; waits up to `wait_seconds` for it to come to rest. A denial is an Operation in state denied."""
        ...

    async def apply_plan(self, principal: Principal, arguments: dict[str, Any], gone: Gone | None = None) -> Operation:
        """`lockgate_apply_plan`: {operation_id, semantic_sha256, reason, idempotency_key?, wait_seconds?}: a new operation that enters at step 8."""
        ...

    async def get(
        self, principal: Principal, operation: str, wait_seconds: float = 0, gone: Gone | None = None
    ) -> Operation:
        """One of the caller's own operations; unknown and someone else's answer alike (NotFound).

        Waits up to `wait_seconds` for it to come to rest; one that rests already, with a human due, for that to change.
        """
        ...

    async def explain(self, principal: Principal, operation: str) -> Explanation:
        """One of the caller's own operations with its story; for a human with `view` any of the tenant, and with who did what."""
        ...

    def watch(self, operations: Iterable[str]) -> asyncio.Future[None]:
        """Done when one of these operations moved, or whatever else decides what a caller may see. Take it, then look: so nothing is missed.

        It says nothing by itself: looking is `get` and `actions`. Whoever takes it cancels it.
        """
        ...

    async def cancel(self, principal: Principal, operation: str) -> Operation:
        """Cancel, or note the wish where the world may already be changing."""
        ...


class HumanDoor(AgentDoor, Protocol):
    """For people (REST, CLI): kind=human principals only; each method asks policy its own question."""

    async def list(
        self, principal: Principal, *, states: tuple[str, ...], target: str | None, before: str | None, limit: int
    ) -> tuple[Operation, ...]:
        """Operations of the tenant, newest first (question `view`); at most 200."""
        ...

    async def show(self, principal: Principal, operation: str) -> Details:
        """Everything about one operation (question `view`); reading a plan is itself an audit entry."""
        ...

    async def vote(self, principal: Principal, vote: VoteCall) -> Operation:
        """Approve or reject (question `approve`)."""
        ...

    async def resolve(self, principal: Principal, operation: str, outcome: str, reason: str) -> Operation:
        """End an indeterminate operation: succeeded, failed_none or failed_partial (question `resolve`)."""
        ...

    async def locks(self, principal: Principal) -> tuple[Lock, ...]:
        """Locks held or quarantined (question `view`); of own targets alone, unless the caller is of the operator's tenant `default`."""
        ...

    async def targets(self, principal: Principal) -> tuple[dict[str, Any], ...]:
        """Targets of the catalog with their lock's state: {name, driver, environment, region, labels, lock, lock_state, held_by}."""
        ...

    async def unlock(self, principal: Principal, target: str, reason: str) -> Lock:
        """Open a quarantined lock (question `admin`)."""
        ...

    async def freeze(self, principal: Principal, scope: str, frozen: bool, reason: str) -> None:
        """Set or lift the kill switch for a scope: `*`, `tenant:x`, `target:x` (question `admin`).

        Outside the tenant `default` only `tenant:OWN` and own targets. Raises Forbidden.
        """
        ...

    async def revoke(self, principal: Principal, kind: str, subject: str, reason: str) -> None:
        """Revoke a token id (`token`) or all tokens of a principal id (`principal`) issued until now (question `admin`).

        Outside the tenant `default` only one's own token, and principals who asked for something in one's own tenant. Raises Forbidden.
        """
        ...

    async def audit(
        self, principal: Principal, since: int, limit: int, operation: str | None
    ) -> tuple[dict[str, Any], ...]:
        """Audit entries (question `view`); reading them is an entry too. Outside the tenant `default` only of own operations. Raises NotFound."""
        ...

    async def checkpoint(self, principal: Principal) -> str:
        """A fresh signed checkpoint (envelope text)."""
        ...

    async def friction(self, principal: Principal, window_seconds: int, collapse: bool) -> dict[str, Any]:
        """How much was denied in the last `window_seconds`, as `gateway.friction.Friction.document` (question `view`).

        `collapse`: asking for the same again counts once. Outside the tenant `default` only what was asked in one's own.
        """
        ...

    async def shadow(self, principal: Principal) -> dict[str, Any]:
        """What the shadow policy would change, as `gateway.shadowing.Shadowing.document` (question `view`, tenant `default`). Raises Forbidden."""
        ...

    async def budgets(self, principal: Principal) -> tuple[dict[str, Any], ...]:
        """The budgets of the policy in force and who uses most of them in one's tenant, as `gateway.budgets.in_use` (question `view`)."""
        ...

    async def health(self) -> dict[str, Any]:
        """{ready: bool, store, policy{revision,error}, catalog{revision,error}, epoch, version, dev, unsafe: [..]}; needs no identity."""
        ...


class RunnerDoor(Protocol):
    """For runners over mTLS; the peer is the certificate's identity. Raises Refusals."""

    async def lease(self, peer: RunnerPeer, request: LeaseRequest) -> LeaseAnswer:
        """Step 6."""
        ...

    async def heartbeat(self, peer: RunnerPeer, attempt: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Keep the lease."""
        ...

    async def give_back(self, peer: RunnerPeer, attempt: str, stop: Stop) -> Ack:
        """The runner cannot do it now."""
        ...

    async def refuse(self, peer: RunnerPeer, attempt: str, stop: Stop) -> Ack:
        """The runner will not do it: the grant is outside what it believes. Alarmed."""
        ...

    async def start(self, peer: RunnerPeer, attempt: str, request: StartRequest) -> StartAnswer:
        """The start of step 7 and step 12."""
        ...

    async def credential(self, peer: RunnerPeer, attempt: str, note: CredentialNote) -> Ack:
        """Journal a credential's life (accessors only)."""
        ...

    async def report(self, peer: RunnerPeer, attempt: str, report: Report) -> Ack:
        """The end of step 7 or 13."""
        ...

    async def receipt(self, peer: RunnerPeer, attempt: str, note: ReceiptNote) -> Ack:
        """The signed teardown receipt."""
        ...
