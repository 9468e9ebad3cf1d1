"""The core behind the humans' door: views, votes, resolutions, locks, freezes and revocations. Each asks policy its own question first."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from lockgate.contract.decision import Question
from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.evidence import CHECKPOINT_TYPE, Checkpoint
from lockgate.contract.intent import Principal, PrincipalKind
from lockgate.contract.signed import write_signed
from lockgate.gateway.admission import EPOCH_RACES, decision_entry, identify
from lockgate.gateway.approvals import votes
from lockgate.gateway.audit.entries import EntryDraft, EntryKind, Head, StoredEntry
from lockgate.gateway.core import Core
from lockgate.gateway.desk import AgentDesk, cancel, not_found, require_human
from lockgate.gateway.doors import Details, Gone, VoteCall
from lockgate.gateway.errors import BadInput, Clash, Forbidden, NotFound
from lockgate.gateway.looking import writer
from lockgate.gateway.operations import locks
from lockgate.gateway.operations.awaited import awaited
from lockgate.gateway.operations.changes import end_entry, moved
from lockgate.gateway.operations.explanation import Explanation, for_agent, for_person
from lockgate.gateway.operations.judging import plan_bytes
from lockgate.gateway.operations.locks import LockEvent, LockState
from lockgate.gateway.operations.model import Lock, Operation
from lockgate.gateway.operations.questions import Asked
from lockgate.gateway.operations.states import Event, State
from lockgate.gateway.operations.transitions import writer_dead_at
from lockgate.gateway.permitting import may_view, permit
from lockgate.gateway.store.port import (
    Append,
    AttemptsOf,
    AuditEntries,
    Control,
    ControlKind,
    DecisionsOf,
    Done,
    EnvelopeRecord,
    EnvelopesOf,
    GetLock,
    GetOperation,
    ListLocks,
    ListOperations,
    LockChange,
    Transition,
    TreeHead,
    VotesOf,
)

RESOLUTIONS = {
    "succeeded": Event.RESOLVED_SUCCEEDED,
    "failed_none": Event.RESOLVED_FAILED_NONE,
    "failed_partial": Event.RESOLVED_FAILED_PARTIAL,
}
MAX_PAGE = 200


OPERATOR_TENANT = "default"
"""Its humans operate the deployment: they act and look across tenants where policy allows it; all others only within their own."""


def is_operator(principal: Principal) -> bool:
    """Whether this human's reach is the whole deployment."""
    return principal.tenant == OPERATOR_TENANT


class HumanDesk(AgentDesk):
    """Implements gateway.doors.HumanDoor over a Core. Policy says who may; on top of that only `default` reaches beyond its own tenant."""

    async def cancel(self, principal: Principal, operation: str) -> Operation:
        """A human cancels their own operation, or another's when policy allows `cancel`; an agent only its own."""
        if principal.kind is not PrincipalKind.HUMAN:
            return await super().cancel(principal, operation)
        found = await self._operation(principal, operation)
        if found.principal.id == principal.id:
            return await cancel(self._core, principal, found)
        return await cancel(self._core, principal, found, await permit(self._core, principal, Question.CANCEL, found))

    async def list(
        self, principal: Principal, *, states: tuple[str, ...], target: str | None, before: str | None, limit: int
    ) -> tuple[Operation, ...]:
        """See HumanDoor.list."""
        await may_view(self._core, principal)
        for state in states:
            if state not in {item.value for item in State}:
                raise BadInput(f"must be of {', '.join(item.value for item in State)}", field="states")
        query = ListOperations(
            principal.tenant, states=states, target=target, before=before, limit=min(max(limit, 1), MAX_PAGE)
        )
        return await self._core.store.read(query)

    async def get(
        self, principal: Principal, operation: str, wait_seconds: float = 0, gone: Gone | None = None
    ) -> Operation:
        """One operation of the tenant, the caller's own or with question `view`; for an agent its own."""
        if principal.kind is not PrincipalKind.HUMAN:
            return await super().get(principal, operation, wait_seconds, gone)
        return await self._wait(await self._operation(principal, operation), wait_seconds, gone)

    async def explain(self, principal: Principal, operation: str) -> Explanation:
        """See AgentDoor.explain. Without `view` a human's own operation is told as to an agent."""
        if principal.kind is not PrincipalKind.HUMAN:
            return await super().explain(principal, operation)
        found = await self._operation(principal, operation)
        entries = await self._core.store.read(AuditEntries(operation=found.id))
        try:
            await may_view(self._core, principal, found)
        except Forbidden:
            return for_agent(found, entries, self._core.engine.bundle.rules)
        return for_person(found, entries, self._core.engine.bundle.rules, await awaited(self._core, found))

    async def show(self, principal: Principal, operation: str) -> Details:
        """See HumanDoor.show."""
        found = await self._operation(principal, operation)
        asked = await permit(self._core, principal, Question.VIEW, found)
        store = self._core.store
        data = await plan_bytes(self._core, found)
        viewed = {"semantic_sha256": found.plan.semantic_sha256 if found.plan else None}
        entry = EntryDraft(EntryKind.PLAN_VIEWED, found.id, principal.id, viewed)
        entries = (decision_entry(found.id, principal.id, asked), entry)
        await self._core.commit(Append(entries, self._core.clock(), (asked.record,)))
        return Details(
            operation=found,
            attempts=await store.read(AttemptsOf(found.id)),
            votes=await store.read(VotesOf(found.id)),
            decisions=await store.read(DecisionsOf(found.id)),
            envelopes=tuple(_opened(record) for record in await store.read(EnvelopesOf(found.id))),
            plan=json.loads(data) if data is not None else None,
            entries=tuple(entry_document(item) for item in await store.read(AuditEntries(operation=found.id))),
        )

    async def vote(self, principal: Principal, vote: VoteCall) -> Operation:
        """See HumanDoor.vote."""
        require_human(principal)
        identify(self._core, principal)
        return await votes.cast(self._core, principal, vote, await self._operation(principal, vote.operation))

    async def resolve(self, principal: Principal, operation: str, outcome: str, reason: str) -> Operation:
        """See HumanDoor.resolve. Raises Clash unless it is indeterminate and its writer is dead (TRUST §5)."""
        event = RESOLUTIONS.get(outcome)
        if event is None:
            raise BadInput(f"must be one of {', '.join(RESOLUTIONS)}", field="outcome")
        _reasoned(reason)
        for _ in range(EPOCH_RACES):
            epoch = self._core.standing.epoch
            found = await self._operation(principal, operation)
            asked = await permit(self._core, principal, Question.RESOLVE, found)
            if found.state is not State.INDETERMINATE:
                raise Clash(
                    f"It is {found.state.value}; only an indeterminate operation is resolved.", field="operation"
                )
            await self._writer_is_dead(found)
            ended = moved(found, event, self._core.clock(), message=f"Resolved by {principal.subject}: {reason}"[:2000])
            body = {"outcome": outcome, "reason": reason}
            entry = EntryDraft(EntryKind.OPERATION_RESOLVED, found.id, principal.id, body)
            done = await self._core.commit(
                Transition(
                    now=self._core.clock(),
                    entries=(decision_entry(found.id, principal.id, asked), entry, *end_entry(ended)),
                    operation=ended,
                    expected_version=found.version,
                    decisions=(asked.record,),
                    epoch=epoch,
                )
            )
            if isinstance(done, Done):
                return ended
            await self._core.refresh()
        raise Clash("The operation keeps moving; look at it again.", field="operation")

    async def _writer_is_dead(self, operation: Operation) -> None:
        """What may still be written to is not looked at yet. Raises Clash that says from when on it can be resolved."""
        attempt = writer(await self._core.store.read(AttemptsOf(operation.id)))
        if attempt is not None:
            dead_at = await writer_dead_at(self._core, attempt)
            left = (dead_at or 0) - self._core.clock()
            if dead_at is not None and left > 0:
                when = datetime.fromtimestamp(dead_at / 1000, UTC).isoformat(timespec="seconds")
                raise Clash(
                    f"Its attempt {attempt.id} may still be at work: its teardown is not proven.",
                    field="operation",
                    fix=f"Resolve it when its runner has sent the teardown receipt, or from {when} on.",
                    retry_after=left / 1000,
                )

    async def locks(self, principal: Principal) -> tuple[Lock, ...]:
        """See HumanDoor.locks."""
        await may_view(self._core, principal)
        targets = self._core.catalog.current.targets.values()
        own = {target.lock for target in targets if target.tenant == principal.tenant}
        found = await self._core.store.read(ListLocks())
        return tuple(lock for lock in found if lock.name in own or is_operator(principal))

    async def targets(self, principal: Principal) -> tuple[dict[str, Any], ...]:
        """See HumanDoor.targets."""
        held = {lock.name: lock for lock in await self.locks(principal)}
        found = []
        for target in self._core.catalog.current.targets.values():
            if target.tenant == principal.tenant:
                lock = held.get(target.lock)
                spec = target.spec
                found.append(
                    {
                        "name": spec.name,
                        "driver": spec.driver,
                        "environment": spec.environment,
                        "region": spec.region,
                        "labels": dict(spec.labels),
                        "lock": target.lock,
                        "lock_state": lock.state.value if lock else LockState.FREE.value,
                        "held_by": lock.attempt if lock else None,
                    }
                )
        return tuple(found)

    async def unlock(self, principal: Principal, target: str, reason: str) -> Lock:
        """See HumanDoor.unlock. Raises NotFound, Clash when the lock is not quarantined."""
        _reasoned(reason)
        asked = await permit(self._core, principal, Question.ADMIN, None)
        found = self._core.catalog.current.targets.get(target)
        if found is None or found.tenant != principal.tenant:
            raise NotFound("There is no such target for you.", field="target", fix="lockgate target list")
        lock = await self._core.store.read(GetLock(found.lock))
        if lock.state is not LockState.QUARANTINED:
            raise Clash(f"The lock is {lock.state.value}; only a quarantined one is opened by hand.", field="target")
        to = locks.move(lock.state, LockEvent.UNLOCKED_BY_HUMAN)
        body = {"lock": lock.name, "was_held_by": lock.attempt, "reason": reason}
        outcome = await self._core.commit(
            Transition(
                now=self._core.clock(),
                entries=(
                    decision_entry(None, principal.id, asked),
                    EntryDraft(EntryKind.LOCK_UNLOCKED, None, principal.id, body),
                ),
                locks=(LockChange(lock.name, lock.state, lock.attempt, to, None),),
                decisions=(asked.record,),
            )
        )
        if not isinstance(outcome, Done):
            raise Clash("Something else happened to the lock first.", field="target")
        return await self._core.store.read(GetLock(found.lock))

    async def freeze(self, principal: Principal, scope: str, frozen: bool, reason: str) -> None:
        """See HumanDoor.freeze."""
        _reasoned(reason)
        if scope != "*" and not scope.startswith(("tenant:", "target:")):
            raise BadInput("must be *, tenant:NAME or target:NAME", field="scope")
        asked = await permit(self._core, principal, Question.ADMIN, None)
        targets = self._core.catalog.current.targets.values()
        own = {f"target:{target.name}" for target in targets if target.tenant == principal.tenant}
        if not (is_operator(principal) or scope in own | {f"tenant:{principal.tenant}"}):
            raise Forbidden(f"Only tenant:{principal.tenant} and your own targets are yours to freeze or lift.")
        kind = ControlKind.FREEZE if frozen else ControlKind.UNFREEZE
        entry = EntryKind.FREEZE_SET if frozen else EntryKind.FREEZE_LIFTED
        body = {"kind": kind.value, "subject": scope, "reason": reason}
        await self._control(asked, kind, scope, EntryDraft(entry, None, principal.id, body))

    async def revoke(self, principal: Principal, kind: str, subject: str, reason: str) -> None:
        """See HumanDoor.revoke."""
        _reasoned(reason)
        kinds = {"token": ControlKind.REVOKE_TOKEN, "principal": ControlKind.REVOKE_PRINCIPAL}
        if kind not in kinds:
            raise BadInput("must be token or principal", field="kind")
        if not subject or len(subject) > 1100:
            raise BadInput("must be a token id or a principal id (issuer#subject)", field="subject")
        asked = await permit(self._core, principal, Question.ADMIN, None)
        if not (is_operator(principal) or await self._is_of_tenant(principal, kind, subject)):
            raise Forbidden(
                f"Outside the tenant {OPERATOR_TENANT} only your own token is yours to revoke, and who asked in your tenant."
            )
        body = {"kind": kinds[kind].value, "subject": subject, "reason": reason}
        draft = EntryDraft(EntryKind.TOKEN_REVOKED, None, principal.id, body)
        await self._control(asked, kinds[kind], subject, draft)

    async def audit(
        self, principal: Principal, since: int, limit: int, operation: str | None
    ) -> tuple[dict[str, Any], ...]:
        """See HumanDoor.audit."""
        await may_view(self._core, principal)
        tenant = None if is_operator(principal) else principal.tenant
        if tenant is not None and operation is not None:
            found = await self._core.store.read(GetOperation(operation[:128]))
            if found is None or found.tenant != tenant:
                raise not_found()
        entry = EntryDraft(EntryKind.AUDIT_EXPORTED, operation, principal.id, {"since": since, "limit": limit})
        await self._core.commit(Append((entry,), self._core.clock()))
        entries = await self._core.store.read(AuditEntries(since, min(max(limit, 1), 500), operation, tenant))
        return tuple(entry_document(item) for item in entries)

    async def checkpoint(self, principal: Principal) -> str:
        """See HumanDoor.checkpoint."""
        await may_view(self._core, principal)
        return await sign_checkpoint(self._core)

    async def _is_of_tenant(self, principal: Principal, kind: str, subject: str) -> bool:
        """Whether this is the caller's own token, the caller, or a principal who has asked for something in the caller's tenant."""
        if kind == "token":
            return subject == principal.token_id
        query = ListOperations(principal.tenant, principal=subject, limit=1)
        return subject == principal.id or bool(await self._core.store.read(query))

    async def _control(self, asked: Asked, kind: ControlKind, subject: str, draft: EntryDraft) -> None:
        """One transaction: what an administrator does, and the decision that let them."""
        entries = (decision_entry(None, draft.principal or "", asked), draft)
        await self._core.commit(Control(kind, subject, entries, self._core.clock(), (asked.record,)))
        await self._core.refresh()

    async def _operation(self, principal: Principal, operation: str) -> Operation:
        require_human(principal)
        identify(self._core, principal)
        found = await self._core.store.read(GetOperation(operation[:128]))
        if found is None or found.tenant != principal.tenant:
            raise not_found()
        if found.principal.id != principal.id:
            await self._visible_to(principal, found)
        return found

    async def _visible_to(self, principal: Principal, operation: Operation) -> None:
        """Someone else's operation is as if it did not exist to whom policy does not allow `view`, whatever is asked about it. Raises NotFound."""
        try:
            await may_view(self._core, principal, operation)
        except Forbidden:
            raise not_found() from None


async def sign_checkpoint(core: Core) -> str:
    """The newest tree head, signed by the log key (envelope text)."""
    return sign_head(core, await core.store.read(TreeHead()))


def sign_head(core: Core, head: Head) -> str:
    """A tree head, signed by the log key (envelope text)."""
    checkpoint = Checkpoint(core.keyset.deployment, head.size, "sha256:" + head.root.hex(), core.clock())
    return write_signed(checkpoint, CHECKPOINT_TYPE, core.log_signer).decode()


def entry_document(entry: StoredEntry) -> dict[str, Any]:
    """An audit entry as JSON."""
    return {
        "seq": entry.seq,
        "time": entry.time,
        "kind": entry.kind,
        "operation": entry.operation,
        "principal": entry.principal,
        "body_sha256": entry.body_sha256,
        "body": entry.body,
    }


def _opened(record: EnvelopeRecord) -> dict[str, Any]:
    text = record.envelope.decode()
    try:
        payload = json.loads(base64.b64decode(json.loads(text)["payload"]))
    except (ValueError, KeyError) as error:
        raise EnvelopeError(f"stored envelope {record.sha256} is unreadable: {error}") from None
    return {
        "sha256": record.sha256,
        "kind": record.kind,
        "attempt": record.attempt,
        "payload": payload,
        "envelope": text,
    }


def _reasoned(reason: str) -> None:
    if not 3 <= len(reason) <= 500:
        raise BadInput("must say why, in 3 to 500 characters", field="reason")
