"""Tells the provider, before a stage's sandbox is destroyed, what follows it, so that the next one can be made meanwhile; it hands over nothing.

What is foreseen is a shape: limits, class, way out, directories and their room. Where credentials or a state are not there yet, a stand-in has their place. What
was foreseen and turns out otherwise starts as it always did. The order of things stays: a stage's job begins after the one before was destroyed and looked for
(TRUST §2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lockgate.contract.intent import Stage
from lockgate.contract.jobchannel import JobResult
from lockgate.runner.enclosure import enclosure_of
from lockgate.runner.keeping.attempt import LENT
from lockgate.runner.keeping.handing import STATE_FILE
from lockgate.runner.parts import Parts
from lockgate.runner.stages import NOTHING, Given, Going, Stageable, specification, tear_down


@dataclass(frozen=True, slots=True)
class Next:
    """The stage that follows; None: none does, whatever happens."""

    stage: Stage | None
    given: Given = NOTHING


Decide = Callable[[JobResult | None, bytes | None], Next | None]
"""What follows a stage, by its result and the plan file of its look; None where nobody knows yet."""


def last(_: JobResult | None, __: bytes | None) -> Next:
    """None follows, whatever came of this one."""
    return Next(None)


def before_verify(_: JobResult | None, __: bytes | None) -> Next:
    """Whatever an apply came to, what holds now is looked at."""
    return Next(Stage.VERIFY)


def before_apply(attempt: Stageable) -> Decide:
    """An apply follows a check that went well, if the gateway lets it start."""
    settings, scope = attempt.accepted.target.credential, attempt.accepted.grant.credential_scope
    files = {"stand-in": b""} if settings.write and scope == "write" else {}
    state_file = attempt.workspace / LENT / STATE_FILE if attempt.keeping.keeps_state else None

    def decide(result: JobResult | None, plan_file: bytes | None) -> Next | None:
        if result is None or result.status != "ok":
            return None
        return Next(Stage.APPLY, Given(plan_file=plan_file, going=Going("", files, state_file=state_file)))

    return decide


def telling(
    parts: Parts, attempt: Stageable, decide: Decide, plan_file: bytes | None = None
) -> Callable[[JobResult | None], None]:
    """For ``run_stage``: tells of what follows by this stage's result."""
    return lambda result: _tell(parts, attempt, decide(result, plan_file))


def _tell(parts: Parts, attempt: Stageable, following: Next | None) -> None:
    """What is made of it is in the journal before it is made, and destroyed like any other sandbox."""
    if following is None:
        return
    grant = attempt.accepted.grant
    enclosure = enclosure_of(parts.region_secret, grant.attempt)
    if following.stage is None:
        if not attempt.foreseen:  # else one is left to be destroyed
            parts.sandbox.foresee(enclosure, None)
        return
    spec = specification(parts, attempt, following.stage, following.given)
    if parts.sandbox.foresee(enclosure, spec):
        parts.journal.sandbox_started(grant.attempt, spec.id)
        attempt.foreseen[following.stage] = spec.id


async def forgo(parts: Parts, attempt: Stageable) -> None:
    """Destroy what was foreseen and did not come."""
    while attempt.foreseen:
        stage, box = attempt.foreseen.popitem()
        await tear_down(parts, attempt.secrets, stage, box, None)
