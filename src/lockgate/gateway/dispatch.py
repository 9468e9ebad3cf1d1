"""The core behind the runners' door: leases, starts, reports, receipts. The certificate says who the runner is; nothing in a body does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from lockgate.contract.canonical import is_sha256
from lockgate.contract.evidence import Witness
from lockgate.contract.intent import Phase
from lockgate.contract.keyset import KeyRole
from lockgate.contract.runnerapi import (
    Ack,
    CredentialNote,
    Heartbeat,
    HeartbeatAnswer,
    LeaseAnswer,
    LeaseOffer,
    LeaseRequest,
    ReceiptNote,
    Report,
    StartAnswer,
    StartRequest,
    Stop,
)
from lockgate.gateway import looking, progress
from lockgate.gateway.admission import EPOCH_RACES
from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.core import Core
from lockgate.gateway.doors import RunnerPeer
from lockgate.gateway.errors import BadInput, Clash, Forbidden, NotFound, Unavailable
from lockgate.gateway.operations import outcomes
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.changes import end_entry, entry, moved
from lockgate.gateway.operations.locks import LockEvent
from lockgate.gateway.operations.model import Attempt, Operation
from lockgate.gateway.operations.states import Event, State
from lockgate.gateway.operations.transitions import done, grant_expiry, lock_change
from lockgate.gateway.oversight import sign_head
from lockgate.gateway.scheduling.granting import work_for
from lockgate.gateway.scheduling.presence import Presence
from lockgate.gateway.scheduling.wakeups import Wakeups, until
from lockgate.gateway.store.port import (
    Append,
    AttemptByPoll,
    AttemptChange,
    ConsistencyProof,
    Done,
    EnvelopesOf,
    GetAttempt,
    GetOperation,
    IndeterminateOperations,
    LaneHeads,
    Transition,
    TreeHead,
)

MAX_POLL = 30
MAX_ACCESSOR = 256
LOOK_PAUSE = 0.02
_CREDENTIAL_EVENTS = {
    "intended": EntryKind.CREDENTIAL_INTENDED,
    "issued": EntryKind.CREDENTIAL_ISSUED,
    "revoked": EntryKind.CREDENTIAL_REVOKED,
}


class RunnerDesk:
    """Implements gateway.doors.RunnerDoor over a Core."""

    def __init__(self, core: Core, wakeups: Wakeups) -> None:
        self._core = core
        self._wakeups = wakeups
        self.presence = Presence(core.clock)

    async def lease(self, peer: RunnerPeer, request: LeaseRequest) -> LeaseAnswer:
        """See RunnerDoor.lease."""
        if not 8 <= len(request.poll_id) <= 64 or not request.poll_id.isalnum():
            raise BadInput("must be 8 to 64 letters and digits", field="poll_id")
        if request.image is not None and not is_sha256(request.image):
            raise BadInput("must be sha256: and 64 hex digits", field="image")
        self._require_named(peer)
        # A poll is its runner's own: one of the same name in another region or tenant is not answered with its lease.
        request = replace(request, poll_id=f"{peer.tenant}/{peer.region}/{request.poll_id}")
        end = self._core.clock() + min(max(request.wait_seconds, 0), MAX_POLL) * 1000
        while True:
            watch = self._wakeups.watch_any()
            self.presence.heard(peer, request.drivers)
            offer = await self._offer(peer, request)
            left = (end - self._core.clock()) / 1000
            if offer is not None or left <= 0:
                watch.cancel()
                return await self._answer(request.witness, offer)
            if await until(watch, left):
                # One look for what comes together; a busy gateway commits many times in this while.
                await asyncio.sleep(LOOK_PAUSE)

    async def _offer(self, peer: RunnerPeer, request: LeaseRequest) -> LeaseOffer | None:
        repeated = await self._core.store.read(AttemptByPoll(peer.runner, request.poll_id))
        if repeated is not None:
            return await self._same_offer(repeated)
        for operation in await self._core.store.read(IndeterminateOperations(peer.region)):
            if operation.tenant == peer.tenant and self._served(operation, request):
                offer = await looking.lease(self._core, peer, request, operation)
                if offer is not None:
                    return offer
        for operation in await self._core.store.read(LaneHeads(peer.region)):
            if operation.tenant != peer.tenant or not self._served(operation, request):
                continue
            offer = await progress.lease(self._core, peer, request, operation)
            if offer is not None:
                return offer
        return None

    def _served(self, operation: Operation, request: LeaseRequest) -> bool:
        """Whether the runner has the driver of the operation's target; of a target that is gone nobody needs one."""
        target = self._core.catalog.current.targets.get(operation.target)
        return target is None or target.spec.driver in request.drivers

    async def _same_offer(self, attempt: Attempt) -> LeaseOffer | None:
        """What the same poll was answered with, as long as it has not started; a runner may have missed the answer."""
        operation = await self._core.store.read(GetOperation(attempt.operation))
        if operation is None or attempt.state is not AttemptState.LEASED or attempt.fence != operation.fence:
            return None
        catalog = self._core.catalog.current
        action, target = catalog.actions.get(operation.action), catalog.targets.get(operation.target)
        for record in await self._core.store.read(EnvelopesOf(operation.id)):
            if record.sha256 == attempt.grant_sha256 and action is not None and target is not None:
                work = work_for(operation, action, target)
                left = max(0, attempt.lease_until - self._core.clock()) // 1000
                return LeaseOffer(record.envelope.decode(), work, self._core.clock(), left)
        return None

    async def _answer(self, witness: Witness | None, offer: LeaseOffer | None) -> LeaseAnswer:
        head = await self._core.store.read(TreeHead())
        return LeaseAnswer(offer, sign_head(self._core, head), await self._consistency(witness, head.size))

    async def _consistency(self, witness: Witness | None, size: int) -> tuple[str, ...]:
        if witness is None or not 0 < witness.size < size:
            return ()
        proof = await self._core.store.read(ConsistencyProof(witness.size, size))
        return tuple(item.hex() for item in proof)

    async def heartbeat(self, peer: RunnerPeer, attempt: str, beat: Heartbeat) -> HeartbeatAnswer:
        """See RunnerDoor.heartbeat. An overtaken or ended attempt is told to stop; none is kept beyond the time its grant was made for.

        A lease that something else moved meanwhile (a start, the sweep that ends it) is looked at again: kept is what was committed. Raises Unavailable.
        """
        for _ in range(EPOCH_RACES):
            answer = await self._beat(peer, attempt, beat)
            if answer is not None:
                return answer
        raise Unavailable("The attempt keeps moving; beat again.", retry_after=1.0)

    async def _beat(self, peer: RunnerPeer, attempt: str, beat: Heartbeat) -> HeartbeatAnswer | None:
        """One try; None when something else moved the attempt first."""
        found, operation = await self._speaker(peer, attempt, beat.fence)
        live = found.state in (AttemptState.LEASED, AttemptState.STARTED) and outcomes.speaks_for(found, operation)
        live = live and operation.place in outcomes.live_places(found)
        now = self._core.clock()
        # Once to come to its start, once more to come to its end: a runner that beats for ever does not hold a target for ever.
        until = (found.started_at or found.leased_at) + await grant_expiry(self._core, found) - found.leased_at
        if not live or now >= until:
            return HeartbeatAnswer(found.state is not AttemptState.STARTED or found.phase is not Phase.APPLY, 0)
        kept = replace(found, lease_until=now + self._core.timing.lease * 1000)
        change = AttemptChange(kept, found.state, found.lease_until)
        outcome = await self._core.commit(Transition(now=now, entries=(), attempts=(change,)))
        return HeartbeatAnswer(False, self._core.timing.lease) if isinstance(outcome, Done) else None

    async def give_back(self, peer: RunnerPeer, attempt: str, stop: Stop) -> Ack:
        """See RunnerDoor.give_back."""
        found, operation = await self._speaker(peer, attempt, stop.fence)
        if not self._may_stop(found, operation):
            return Ack(operation.state.value)
        after = moved(operation, Event.LEASE_LOST, self._core.clock(), message=f"Given back: {stop.reason}"[:2000])
        return await self._stopped(found, operation, after, EntryKind.LEASE_LOST, stop.reason)

    async def refuse(self, peer: RunnerPeer, attempt: str, stop: Stop) -> Ack:
        """See RunnerDoor.refuse."""
        found, operation = await self._speaker(peer, attempt, stop.fence)
        if not self._may_stop(found, operation):
            return Ack(operation.state.value)
        message = f"The runner refused the grant: {stop.reason}"[:2000]
        after = moved(operation, Event.GRANT_REFUSED, self._core.clock(), message=message)
        return await self._stopped(found, operation, after, EntryKind.GRANT_REFUSED, stop.reason)

    def _may_stop(self, attempt: Attempt, operation: Operation) -> bool:
        return (
            attempt.state is AttemptState.LEASED
            and outcomes.speaks_for(attempt, operation)
            and operation.state is State.LEASED
        )

    async def _stopped(
        self, attempt: Attempt, operation: Operation, after: Operation, kind: EntryKind, why: str
    ) -> Ack:
        facts = {"attempt": attempt.id, "runner": attempt.runner, "reason": why[:1000]}
        alarm = (
            (entry(EntryKind.ALARM, after, what="grant refused", **facts),) if kind is EntryKind.GRANT_REFUSED else ()
        )
        outcome = await self._core.commit(
            Transition(
                now=self._core.clock(),
                entries=(entry(kind, after, **facts), *alarm, *end_entry(after)),
                operation=after,
                expected_version=operation.version,
                locks=await lock_change(self._core, attempt, LockEvent.NEVER_STARTED),
            )
        )
        return Ack(done(outcome, after).state.value)

    async def start(self, peer: RunnerPeer, attempt: str, request: StartRequest) -> StartAnswer:
        """See RunnerDoor.start."""
        found, operation = await self._speaker(peer, attempt, request.fence)
        return await progress.start(self._core, peer, found, operation, request)

    async def credential(self, peer: RunnerPeer, attempt: str, note: CredentialNote) -> Ack:
        """See RunnerDoor.credential. A write credential is noted only for a started apply (invariant 8)."""
        found, operation = await self._speaker(peer, attempt, note.fence)
        kind = _CREDENTIAL_EVENTS.get(note.event)
        if kind is None:
            raise BadInput("must be intended, issued or revoked", field="event")
        if note.scope not in ("read", "write"):
            raise BadInput("must be read or write", field="scope")
        opening = note.event != "revoked"
        if (
            opening
            and note.scope == "write"
            and (found.phase is not Phase.APPLY or found.state is not AttemptState.STARTED)
        ):
            raise Clash("Write credentials exist only between start and the end of apply.", field="scope")
        if len(note.accessor or "") > MAX_ACCESSOR or (note.event == "issued" and not note.accessor):
            raise BadInput(f"must be at most {MAX_ACCESSOR} characters, and name what was issued", field="accessor")
        body = {"attempt": found.id, "scope": note.scope, "accessor": note.accessor, "expires_in": note.expires_in}
        draft = EntryDraft(kind, operation.id, None, {**body, "runner": peer.runner})
        await self._core.commit(Append((draft,), self._core.clock()))
        return Ack(operation.state.value)

    async def report(self, peer: RunnerPeer, attempt: str, report: Report) -> Ack:
        """See RunnerDoor.report."""
        found, operation = await self._speaker(peer, attempt, report.fence)
        return Ack((await progress.finish(self._core, peer, found, operation, report)).state.value)

    async def receipt(self, peer: RunnerPeer, attempt: str, note: ReceiptNote) -> Ack:
        """See RunnerDoor.receipt."""
        found, operation = await self._speaker(peer, attempt, None)
        return Ack((await progress.settle(self._core, peer, found, operation, note)).state.value)

    async def _speaker(self, peer: RunnerPeer, attempt: str, fence: int | None) -> tuple[Attempt, Operation]:
        """The attempt this runner holds. Raises NotFound for unknown ones and other runners', Clash for another fence, Forbidden."""
        self._require_named(peer)
        self.presence.heard(peer)
        found = await self._core.store.read(GetAttempt(attempt[:128]))
        operation = await self._core.store.read(GetOperation(found.operation)) if found is not None else None
        if found is None or operation is None or (found.runner, found.region) != (peer.runner, peer.region):
            raise NotFound("There is no such attempt for this runner.", field="attempt")
        if operation.tenant != peer.tenant:
            raise NotFound("There is no such attempt for this runner.", field="attempt")
        if fence is not None and fence != found.fence:
            raise Clash("is not this attempt's fence", field="fence")
        return found, operation

    def _require_named(self, peer: RunnerPeer) -> None:
        """A runner that the keyset no longer names is revoked, whatever its certificate says (invariant 14). Raises Forbidden."""
        for key in self._core.keyset.keys:
            if key.role is KeyRole.RUNNER and (key.holder, key.region, key.tenant) == (
                peer.runner,
                peer.region,
                peer.tenant,
            ):
                return
        raise Forbidden("The keyset of this deployment does not name this runner.")
