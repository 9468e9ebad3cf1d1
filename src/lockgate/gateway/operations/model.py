"""The records of operations, attempts, votes and locks: frozen values; they change only through a store command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from lockgate.contract.canonical import sha256
from lockgate.contract.intent import Effect, Phase, Principal
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.inputs import KeptInput
from lockgate.gateway.operations.locks import LockState
from lockgate.gateway.operations.states import EffectShown, Place, State


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """What a plan attempt of `operation` proved: digests, summary and the signed manifest's digest. The canonical bytes lie in the store by
    `semantic_sha256`, under that operation."""

    file_sha256: str
    inputs_sha256: str
    semantic_sha256: str
    snapshot_sha256: str
    fidelity: str
    incomplete: tuple[str, ...]
    create: int
    update: int
    delete: int
    replace: int
    manifest_sha256: str
    planned_at: int
    operation: str


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule that denied or stopped an operation, in words an agent or a person can act on."""

    rule: str
    title: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One intent's whole life. Times are Unix ms of the gateway's clock; `version` is the compare-and-set counter; ids are unguessable."""

    id: str
    tenant: str
    action: str
    target: str
    lock: str
    region: str
    effect: Effect
    principal: Principal
    intent: dict[str, Any]
    intent_sha256: str
    action_sha256: str
    target_sha256: str
    dry_run: bool
    plan_of: str | None
    state: State
    phase: Phase | None
    version: int
    effect_shown: EffectShown | None
    waiting_for: str | None
    lease_retries: int
    check_retries: int
    fence: int
    created_at: int
    updated_at: int
    deadline: int
    decision: str
    obligations: dict[str, Any] | None
    plan: PlanRecord | None
    approval_expires_at: int | None
    cancel_requested: bool
    message: str
    reasons: tuple[Reason, ...]
    output: str | None

    @property
    def place(self) -> Place:
        """State and phase as the state table knows them."""
        return Place(self.state, self.phase)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One lease to one proven teardown. `lease_until` moves with heartbeats; `lock` is the lock it holds (apply only)."""

    id: str
    operation: str
    phase: Phase
    fence: int
    state: AttemptState
    runner: str
    region: str
    poll_id: str
    lock: str | None
    grant_sha256: str
    decision: str
    leased_at: int
    lease_until: int
    started_at: int | None
    inputs_sha256: str | None
    check_sha256: str | None
    permit_id: str | None
    receipt_sha256: str | None


@dataclass(frozen=True, slots=True)
class Vote:
    """A human's vote on exactly the digests that were shown to that human. `persons` are all identities behind the voter."""

    operation: str
    voter: Principal
    verdict: str
    semantic_sha256: str
    inputs_sha256: str
    policy_revision: str
    comment: str
    at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Lock:
    """A target's lock (named by the catalog) and the attempt that holds it."""

    name: str
    state: LockState
    attempt: str | None
    since: int


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A policy decision as stored: `document` is the Decision's document, `input` the bytes it answered; None when they are no longer kept.

    `hidden` and `masked` are JSON pointers into the input: of what was hidden before policy was asked, so that policy did not see it either, and
    of what policy saw and the record does not hold.
    """

    id: str
    tenant: str
    operation: str | None
    question: str
    allow: bool
    document: dict[str, Any]
    input: KeptInput | None
    at: int
    hidden: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()

    @property
    def revision(self) -> str:
        """The policy's revision."""
        return str(self.document["revision"])

    @property
    def sha256(self) -> str:
        """The digest of all that it says of the answer, whose and when it was, and of what is not in it: whatever was stored can be read back to it."""
        said = [self.document, self.hidden, self.masked, self.tenant, self.at]
        return sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS))
