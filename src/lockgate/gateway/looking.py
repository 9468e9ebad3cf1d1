"""Looks at what an unknown apply of an exact driver left, once its writer is dead (TRUST §5); it must not guess: what is not certain waits for a human.

A look is an attempt of phase *verify*: read-only, without a lock, and no apply of its target is leased before it is over. The operation stays
`indeterminate` meanwhile.
"""

from __future__ import annotations

from dataclasses import replace

from lockgate.contract.drivers import declaration
from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.evidence import MANIFEST_TYPE, Manifest
from lockgate.contract.intent import Phase, Stage
from lockgate.contract.keyset import KeyRole
from lockgate.contract.runnerapi import LeaseOffer, LeaseRequest, StartAnswer
from lockgate.contract.shown import quoted
from lockgate.contract.signed import read_signed_by
from lockgate.gateway.core import Core
from lockgate.gateway.doors import RunnerPeer
from lockgate.gateway.operations import outcomes, transitions
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.changes import moved
from lockgate.gateway.operations.judging import judge, parts, question_of
from lockgate.gateway.operations.manifests import Reported
from lockgate.gateway.operations.model import Attempt, Operation
from lockgate.gateway.operations.questions import Where
from lockgate.gateway.operations.states import Event
from lockgate.gateway.store.port import AttemptsOf, Done, EnvelopesOf, IndeterminateOperations

MAX_LOOKS = 3
"""How many verify attempts an operation gets; when none of them comes to a report, a human looks."""

LOOKING = frozenset({AttemptState.LEASED, AttemptState.STARTED})


async def awaited(core: Core, operation: Operation) -> Attempt | None:
    """The writer of an indeterminate operation that is to be looked at and was not yet; None when only a human can end it."""
    found = parts(core, operation)
    if found is None or not declaration(found[1].spec.driver).derives:
        return None
    attempts = await core.store.read(AttemptsOf(operation.id))
    looks = {item.id for item in attempts if item.phase is Phase.VERIFY}
    for record in await core.store.read(EnvelopesOf(operation.id)):
        if record.attempt in looks and record.kind == f"manifest.{Stage.VERIFY.value}":
            return None  # it was looked at, and that did not tell
        if record.kind == f"manifest.{Stage.APPLY.value}" and _lost(core, record.envelope):
            return None  # what it did is in no state, and a look would find the state of before
    live = any(item.id in looks and item.state in LOOKING for item in attempts)
    return writer(attempts) if live or len(looks) < MAX_LOOKS else None


def writer(attempts: tuple[Attempt, ...]) -> Attempt | None:
    """The last attempt that may have written."""
    applies = [item for item in attempts if item.phase is Phase.APPLY]
    return max(applies, key=lambda item: item.fence, default=None)


async def lock_awaits(core: Core, operation: Operation) -> str | None:
    """The operation that must be looked at before this one may apply: else nobody could tell whose change a look shows."""
    for other in await core.store.read(IndeterminateOperations(operation.region)):
        if other.lock == operation.lock and await awaited(core, other) is not None:
            return other.id
    return None


async def lease(core: Core, peer: RunnerPeer, request: LeaseRequest, operation: Operation) -> LeaseOffer | None:
    """A verify attempt for this runner, or None: not due, the writer may live, or policy does not let anybody look now."""
    wrote = await awaited(core, operation)
    if wrote is None or any(
        item.phase is Phase.VERIFY and item.state in LOOKING for item in await core.store.read(AttemptsOf(operation.id))
    ):
        return None
    dead_at = await transitions.writer_dead_at(core, wrote)
    if dead_at is not None and core.clock() < dead_at:
        return None
    epoch = core.standing.epoch
    verdict = await judge(core, operation, question=question_of(Phase.VERIFY), where=Where(request.image))
    if verdict.event is not None:
        return None
    _, offer = await transitions.hand_out(core, peer, request, operation, verdict, epoch)
    return offer


async def start(core: Core, where: Where, starting: transitions.Starting) -> StartAnswer:
    """*Start* of a look: decided again, in one transaction; a refusal moves nothing."""
    epoch = core.standing.epoch
    verdict = await judge(core, starting.operation, question=question_of(Phase.VERIFY), where=where)
    if verdict.event is not None:
        return StartAnswer(None, False, outcomes.first_message(verdict) or "no longer allowed")
    outcome, permit = await transitions.commit_start(core, starting, verdict, epoch)
    if isinstance(outcome, Done):
        return StartAnswer(permit, False, None)
    return StartAnswer(None, False, "the operation, its attempt or its caller's standing changed")


async def checked(core: Core, operation: Operation) -> Manifest | None:
    """What the writer's own check showed right before its start; None when its key is no longer in the keyset."""
    wrote = writer(await core.store.read(AttemptsOf(operation.id)))
    for record in await core.store.read(EnvelopesOf(operation.id)):
        if wrote is not None and record.sha256 == wrote.check_sha256:
            return _manifest(core, record.envelope)
    return None


def _manifest(core: Core, envelope: bytes) -> Manifest | None:
    try:
        return read_signed_by(Manifest, envelope, MANIFEST_TYPE, core.keyset, KeyRole.RUNNER)[0]
    except EnvelopeError:
        return None


def _lost(core: Core, envelope: bytes) -> bool:
    said = _manifest(core, envelope)
    return said is None or said.outcome.status == outcomes.LOST


def concluded(operation: Operation, look: Reported, before: Manifest | None, now: int) -> Operation:
    """The operation after a look. Nothing happened: canonical plan, serial and lineage are those of before. All happened: nothing is left to change,

    and the serial advanced in the same lineage, seen with the same source, tool and providers. Anything else waits for a human's word.
    """
    shown, plan = look.manifest, look.plan
    if shown.outcome.status != "ok" or plan is None or plan.incomplete or before is None:
        said = shown.outcome.detail
        return untold(operation, quoted(said, limit=outcomes.MAX_SAID) if said else "it brought no whole plan", now)
    was, found = before.state_before, shown.state_before
    if was is None or found is None or was.lineage != found.lineage:
        return untold(operation, "the state of before and of now cannot be compared", now)
    approved = operation.plan.semantic_sha256 if operation.plan is not None else None
    if found == was and look.plan_record(now).semantic_sha256 == approved:
        said = f"Looked at after its runner was gone: plan and state (serial {found.serial}) are those of before."
        return moved(operation, Event.VERIFIED_UNCHANGED, now, message=said)
    if found.serial > was.serial and plan.summary.empty and same_ground(shown, before):
        said = f"Looked at after its runner was gone: nothing is left to change; the state went from {was.serial} to {found.serial}."
        return moved(operation, Event.VERIFIED_EMPTY, now, message=said)
    return untold(
        operation, f"the state went from {was.serial} to {found.serial}, and something is left to change", now
    )


def same_ground(one: Manifest, other: Manifest) -> bool:
    """Whether both stages ran the same source with the same job, driver, tool and providers."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("snapshot_sha256", "job_sha256", "driver", "fidelity", "tool", "providers")
    )


def untold(operation: Operation, why: str, now: int) -> Operation:
    """A look that could not tell: the operation stays where it is, and says so."""
    message = f"Looked at after its runner was gone, and that does not tell what was changed ({why}); a human must look and resolve it."
    return replace(operation, version=operation.version + 1, updated_at=now, message=message[:2000])
