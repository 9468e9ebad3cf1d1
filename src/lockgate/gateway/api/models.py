"""The REST API's documents as pydantic models, closed and strict; they describe, and must not decide or change anything."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Reason = Annotated[str, Field(min_length=8, max_length=500)]
Comment = Annotated[str, Field(max_length=2000)]


class Closed(BaseModel):
    """What comes in: unknown members are refused, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NewOperation(Closed):
    """Ask for an action. `arguments` also holds target, reason, idempotency_key, dry_run and wait_seconds, as an MCP tool call does."""

    action: Name
    arguments: dict[str, Any]


class Digests(Closed):
    """The digests of the plan that was displayed to the voter."""

    semantic_sha256: Digest
    inputs_sha256: Digest


class NewVote(Closed):
    """A vote on exactly the digests that were displayed."""

    verdict: Literal["approve", "reject"]
    digests: Digests
    comment: Comment = ""


class Resolution(Closed):
    """What a person found to have happened at the target."""

    outcome: Literal["succeeded", "failed_none", "failed_partial"]
    reason: Reason


class Empty(Closed):
    """Nothing to say."""


class Unlock(Closed):
    """Open a quarantined lock."""

    reason: Reason


class Freeze(Closed):
    """Set (`frozen`: true) or lift the kill switch."""

    scope: Annotated[str, Field(pattern=r"^(\*|tenant:[A-Za-z0-9._-]{1,128}|target:[A-Za-z0-9._-]{1,128})$")]
    frozen: bool
    reason: Reason


class NewRevocation(Closed):
    """Revoke one token by its id, or all tokens a principal (`issuer#subject`) has had until now."""

    kind: Literal["token", "principal"]
    subject: Annotated[str, Field(min_length=1, max_length=1024)]
    reason: Reason


class OperationQuery(BaseModel):
    """Filter and page of a list; `before` is the id of the last operation of the page before."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    state: list[str] = Field(default=[], max_length=16)
    target: Name | None = None
    before: Name | None = None
    limit: int = Field(default=50, ge=1, le=200)


class WaitQuery(BaseModel):
    """`wait_seconds`: how long to wait for the operation to end before answering."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    wait_seconds: float = Field(default=0, ge=0, le=60)


class AuditQuery(BaseModel):
    """`since`: the first sequence number wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    since: int = Field(default=0, ge=0, le=2**53 - 1)
    limit: int = Field(default=100, ge=1, le=1000)
    operation: Name | None = None


class FrictionQuery(BaseModel):
    """`window_seconds`: how far back from now; `collapse`: asking for the same again counts once."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    window_seconds: int = Field(default=7 * 24 * 3600, ge=1, le=366 * 24 * 3600)
    collapse: bool = False


class NoQuery(BaseModel):
    """No query parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What goes out; later versions may add members."""

    model_config = ConfigDict(extra="allow")


class ActionDocument(Answer):
    """An action this caller may ask for."""

    name: str
    title: str
    description: str
    effect: Literal["read", "change", "destroy"]
    idempotent: bool
    arguments: dict[str, Any]


class Actions(Answer):
    """Actions by name."""

    actions: list[ActionDocument]


class OperationDocument(Answer):
    """One operation. Times are Unix ms; `effect` is what verify showed, `effect_declared` what the action may do.

    `notices`: what in names, arguments and reason may deceive the eye: characters that are not seen, letters of two scripts in one word."""

    id: str
    status: str
    final: bool
    tenant: str
    action: str
    target: str
    phase: str | None
    waiting_for: str | None
    effect: str | None
    effect_declared: str
    principal: dict[str, Any]
    intent: dict[str, Any]
    dry_run: bool
    plan: dict[str, Any] | None
    decision: str
    message: str
    reasons: list[dict[str, Any]]
    notices: list[str]
    output: dict[str, Any] | None
    retry: dict[str, Any]
    created_at: int
    updated_at: int
    deadline: int


class Operations(Answer):
    """A page of operations, newest first; `next_before` is for the next page, null at the end."""

    operations: list[OperationDocument]
    next_before: str | None


class OperationDetails(Answer):
    """Everything recorded about one operation. `readings`: what rules said last, this deployment's own and those that ask for approval; `notices`: what in the plan or in those
    may deceive the eye."""

    operation: OperationDocument
    attempts: list[dict[str, Any]]
    votes: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    envelopes: list[dict[str, Any]]
    plan: dict[str, Any] | None
    entries: list[dict[str, Any]]
    readings: list[dict[str, Any]]
    notices: list[str]


class Explanation(Answer):
    """Why an operation stands where it does. `awaited` and `commands` are for whoever may view it; `story` is oldest first, `at` Unix ms."""

    operation_id: str
    status: str
    final: bool
    message: str
    waiting_for: str | None
    awaited: list[str]
    rules: list[dict[str, Any]]
    retry: dict[str, Any]
    commands: list[str]
    story: list[dict[str, Any]]


class PlanAnswer(Answer):
    """A plan's digests and summary with its canonical document. A vote must carry the digests of what was displayed."""

    operation_id: str
    digests: dict[str, str]
    summary: dict[str, int]
    fidelity: str
    incomplete: list[str]
    readings: list[dict[str, Any]]
    notices: list[str]
    plan: dict[str, Any] | None


class Targets(Answer):
    """Targets with the state of their locks."""

    targets: list[dict[str, Any]]


class LockDocument(Answer):
    """A target's lock; `since` is Unix ms."""

    name: str
    state: str
    attempt: str | None
    since: int


class Locks(Answer):
    """Locks that are held or quarantined."""

    locks: list[LockDocument]


class Done(Answer):
    """It is recorded."""

    done: Literal[True]


class AuditEntries(Answer):
    """Entries by sequence number; `next_since` is where to go on, null at the end."""

    entries: list[dict[str, Any]]
    next_since: int | None


class Checkpoint(Answer):
    """A signed checkpoint as DSSE envelope text."""

    checkpoint: str


class FrictionReport(Answer):
    """How much of what was asked was denied. `share` is of all requests, null where there was none; `cut`: there were too many to count."""

    since: str
    until: str
    collapsed: bool
    cut: bool
    asked: int
    denied: int
    rejected: int
    waiting: int
    share: float | None
    objective: dict[str, Any]
    rules: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    agents: list[dict[str, Any]]
    days: list[dict[str, Any]]


class ShadowReport(Answer):
    """What the shadow policy would change, since it was loaded; without one `on` is false, and `error` says why if it could not be loaded."""

    on: bool
    error: str | None
    revision: str | None = None
    since: str | None = None
    compared: int = 0
    dropped: int = 0
    unlogged: int = 0
    changes: dict[str, int] = {}
    unknown: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []


class BudgetDocument(Answer):
    """A budget of the policy in force. `used`: {who, used} of those who use most of it now, at most 20; per owner `who` is a human."""

    name: str
    per: str
    counts: str
    window_seconds: int
    limit: int
    used: list[dict[str, Any]]


class Budgets(Answer):
    """Every budget that the policy in force declares."""

    budgets: list[BudgetDocument]


class Problem(Answer):
    """RFC 9457. `code` is stable; `field` names the faulty input; `fix` is what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    fix: str | None = None
    rules: list[dict[str, Any]] | None = None
    decision_id: str | None = None
