"""Records that are valid and small, for suites and benchmarks of the store; they must not stand in for real requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lockgate.contract.intent import Effect, Phase, Principal, PrincipalKind
from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.inputs import KeptInput
from lockgate.gateway.operations.model import Attempt, DecisionRecord, Operation, Vote
from lockgate.gateway.operations.states import State
from lockgate.gateway.store.port import Admit

NOW = 1_800_000_000_000
DIGEST = "sha256:" + "a" * 64


def principal(name: str = "agent-1", kind: PrincipalKind = PrincipalKind.AGENT, tenant: str = "default") -> Principal:
    """A caller of the built-in issuer."""
    return Principal(
        kind=kind,
        issuer="https://issuer.example",
        subject=name,
        tenant=tenant,
        owner=None,
        on_behalf_of="https://issuer.example#ada",
        roles=("operator",),
        audience="https://gateway.example/mcp",
        token_id=f"token-{name}",
        auth_time=None,
        expires_at=NOW // 1000 + 3600,
    )


def operation(name: str, **changes: Any) -> Operation:
    """A queued plan operation called `name`; `changes` replace fields."""
    made = Operation(
        id=name,
        tenant="default",
        action="service_restart",
        target="web-1",
        lock="web-1",
        region="local",
        effect=Effect.CHANGE,
        principal=principal(),
        intent={"action": "service_restart", "target": "web-1", "arguments": {"unit": "nginx"}, "reason": "it hangs"},
        intent_sha256=DIGEST,
        action_sha256=DIGEST,
        target_sha256=DIGEST,
        dry_run=False,
        plan_of=None,
        state=State.QUEUED,
        phase=Phase.PLAN,
        version=1,
        effect_shown=None,
        waiting_for=None,
        lease_retries=0,
        check_retries=0,
        fence=0,
        created_at=NOW,
        updated_at=NOW,
        deadline=NOW + 3_600_000,
        decision=f"decision-{name}",
        obligations=None,
        plan=None,
        approval_expires_at=None,
        cancel_requested=False,
        message="",
        reasons=(),
        output=None,
    )
    return replace(made, **changes)


def decision(name: str, of: str | None, at: int = NOW, **changes: Any) -> DecisionRecord:
    """An allowing decision; `changes` replace fields."""
    made = DecisionRecord(
        id=name,
        tenant="default",
        operation=of,
        question="request",
        allow=True,
        document={"id": name, "revision": DIGEST, "allow": True},
        input=KeptInput(b'{"question":"request","version":1}'),
        at=at,
    )
    return replace(made, **changes)


def entry(of: str | None = None, kind: EntryKind = EntryKind.OPERATION_REQUESTED, **body: Any) -> EntryDraft:
    """An audit entry before its number."""
    return EntryDraft(kind, of, principal().id, body or {"note": "made by a test"})


def admit(op: Operation, *, scope: str | None = None, epoch: int, now: int = NOW) -> Admit:
    """The command that records `op` with its decision and two entries, as admission does."""
    entries = (
        entry(op.id, intent_sha256=op.intent_sha256, action=op.action, target=op.target),
        entry(op.id, EntryKind.DECISION_MADE, decision=op.decision, allow=True, revision=DIGEST),
    )
    return Admit(op, scope, decision(op.decision, op.id, now), entries, epoch, now)


def attempt(name: str, of: str, *, fence: int = 1, poll: str | None = None, **changes: Any) -> Attempt:
    """A leased apply attempt; `changes` replace fields."""
    made = Attempt(
        id=name,
        operation=of,
        phase=Phase.APPLY,
        fence=fence,
        state=AttemptState.LEASED,
        runner="runner-1",
        region="local",
        poll_id=poll or f"poll-{name}",
        lock="web-1",
        grant_sha256=DIGEST,
        decision=f"decision-{of}",
        leased_at=NOW,
        lease_until=NOW + 30_000,
        started_at=None,
        inputs_sha256=None,
        check_sha256=None,
        permit_id=None,
        receipt_sha256=None,
    )
    return replace(made, **changes)


def vote(of: str, voter: str = "ada", verdict: str = "approve", expires_at: int = NOW + 60_000) -> Vote:
    """A human's vote."""
    human = principal(voter, PrincipalKind.HUMAN)
    return Vote(of, human, verdict, DIGEST, DIGEST, DIGEST, "looks right", NOW, expires_at)
