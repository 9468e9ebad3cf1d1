"""What a runner says about a stage, signed: its canonical plan, the state before and after, how it ended. It runs nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from lockgate.contract.canonical import CanonicalError, sha256
from lockgate.contract.evidence import StageOutcome
from lockgate.contract.intent import Stage
from lockgate.contract.plan import PlanDigests, plan_digests
from lockgate.contract.runnerapi import StageReport
from lockgate.contract.state import StateMark
from lockgate.runner.parts import Parts
from lockgate.runner.planning import canonical_plan, plan_key
from lockgate.runner.stages import Stageable, StageRun
from lockgate.runner.statements import StageFacts, sign_manifest


@dataclass(frozen=True, slots=True)
class Spoken:
    """A stage's run with the signed words about it; `plan` is the canonical plan's text."""

    run: StageRun
    report: StageReport

    @property
    def ok(self) -> bool:
        """True when the stage did what it was for."""
        return self.run.outcome.status == "ok"


async def speak(parts: Parts, attempt: Stageable, run: StageRun) -> Spoken:
    """Sign what a stage did: the canonical plan for plan, check and verify, the masked output for read."""
    text, digests, outcome = await asyncio.to_thread(_plan_of, parts, attempt, run)
    before, after = marks(attempt, run)
    facts = StageFacts(
        stage=run.stage,
        sandbox=run.sandbox,
        derived_in=run.derived_in,
        outcome=outcome,
        plan=digests,
        fidelity=attempt.equipment.driver.fidelity,
        state_before=before,
        state_after=after,
        ended_at=run.ended_at,
    )
    manifest = sign_manifest(parts, attempt.accepted, attempt.inputs, facts)
    output = run.result.output if run.result is not None and run.stage is Stage.READ else None
    return Spoken(replace(run, outcome=outcome), StageReport(manifest, text, output))


def marks(attempt: Stageable, run: StageRun) -> tuple[StateMark | None, StateMark | None]:
    """The state before a stage, and the one an apply left: the runner's own word where it keeps it, else the tool's (TRUST §5)."""
    said = run.result.state if run.result is not None else None
    if run.stage is not Stage.APPLY:
        return (attempt.keeping.mark if attempt.keeping.keeps_state else said), None
    if attempt.keeping.keeps_state:
        return attempt.inputs.document.state, None if attempt.keeping.trouble else attempt.keeping.mark
    return None, said


def _plan_of(parts: Parts, attempt: Stageable, run: StageRun) -> tuple[str | None, PlanDigests | None, StageOutcome]:
    if run.result is None or run.outcome.status != "ok" or run.stage not in (Stage.PLAN, Stage.CHECK, Stage.VERIFY):
        return None, None, run.outcome
    key = plan_key(parts.region_secret, attempt.accepted.grant, attempt.accepted.work.target.name)
    file_sha256 = sha256(run.plan_file) if run.plan_file is not None else None
    try:
        data, plan = canonical_plan(run.result, attempt.inputs, key)
        plan.summary  # noqa: B018  (raises for changes that are no changes)
    except (CanonicalError, ValueError) as error:
        return None, None, StageOutcome("failed", None, f"the job's plan has no canonical form: {error}"[:2000])
    return data.decode(), plan_digests(data, plan, file_sha256), run.outcome
