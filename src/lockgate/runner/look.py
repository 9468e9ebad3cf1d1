"""A look at what would change: one stage, and for exact fidelity a second one that says what its plan file means. It must not believe the first.

What runs while a tool plans (external data sources, providers, provisioners) may be hostile and shares its sandbox with the job. So of a stage
that plans only the bytes of the plan are taken, and their meaning is derived in a sandbox that has them, the tool and its providers, and nothing
else (TRUST §2). A driver of predicted fidelity has nothing to derive from: its claim stands, and every view says so.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

from lockgate.contract.evidence import StageOutcome
from lockgate.contract.intent import Stage
from lockgate.contract.jobchannel import MAX_PLAN_FILE_BYTES, JobResult
from lockgate.runner.foresight import Decide, Next, last, telling
from lockgate.runner.parts import Parts
from lockgate.runner.stages import NOTHING, Given, Stageable, StageRun, run_stage


async def look(
    parts: Parts, attempt: Stageable, stage: Stage, given: Given = NOTHING, after: Decide = last
) -> StageRun:
    """Run `stage` (plan, check or verify), `after` which something may follow; its result says what would change. Raises SandboxUnavailable."""
    deciding = _before_derive(given, after) if attempt.equipment.driver.derives else after
    run = await run_stage(parts, attempt, stage, given, telling(parts, attempt, deciding))
    if not attempt.equipment.driver.derives or run.result is None or run.outcome.status != "ok":
        return run
    try:
        plan_file = plan_bytes(run.result.plan_file)
    except ValueError as error:
        return _failed(run, f"the plan file cannot be taken: {error}")
    given = replace(given, plan_file=plan_file)
    derived = await run_stage(parts, attempt, Stage.DERIVE, given, telling(parts, attempt, after, plan_file))
    run = replace(run, plan_file=plan_file, derived_in=derived.sandbox, ended_at=derived.ended_at)
    if derived.outcome.status != "ok" or derived.result is None:
        return _failed(run, f"the plan file could not be derived ({derived.outcome.status}): {derived.outcome.detail}")
    if derived.result.document is None:
        return _failed(run, "the derive stage brought no document")
    return replace(run, result=derived.result)


def _before_derive(given: Given, after: Decide) -> Decide:
    """A plan that went well is derived; of any other the look is over."""

    def decide(result: JobResult | None, _: bytes | None) -> Next | None:
        try:
            if result is not None and result.status == "ok":
                return Next(Stage.DERIVE, replace(given, plan_file=plan_bytes(result.plan_file)))
        except ValueError:
            pass
        return after(None, None)

    return decide


def plan_bytes(encoded: str) -> bytes:
    """The bytes of a plan file as a job sends them. Raises ValueError: none, no base64, or more than MAX_PLAN_FILE_BYTES."""
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is no base64: {error}") from None
    if not 0 < len(data) <= MAX_PLAN_FILE_BYTES:
        raise ValueError(f"it has {len(data)} bytes; it must have 1 to {MAX_PLAN_FILE_BYTES}")
    return data


def _failed(run: StageRun, why: str) -> StageRun:
    return replace(run, result=None, outcome=StageOutcome("failed", run.outcome.exit_code, why[:2000]))
