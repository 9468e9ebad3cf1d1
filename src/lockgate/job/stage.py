"""Runs one stage of a driver, after every check has passed; loaded only then, so that `ready` does not wait for it. It must not check or skip a check."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lockgate.contract.intent import Stage
from lockgate.contract.jobchannel import JobInputs, JobResult
from lockgate.contract.work import InputsDocument
from lockgate.job.drivers.port import BLANK, Driver, StageContext, StageRefused
from lockgate.job.places import Places

_MAX_TEXT = 2 << 20


def run_stage(
    loader: Callable[[], Driver], message: JobInputs, inputs: InputsDocument, places: Places, started: float
) -> JobResult:
    """The driver's claim; a refusal by the driver is a result of status `refused`, with the reason, and nothing was started."""
    driver = loader()
    calls = {
        Stage.PLAN: driver.plan,
        Stage.CHECK: driver.plan,
        Stage.APPLY: driver.apply,
        Stage.VERIFY: driver.verify,
        Stage.READ: driver.read,
    }
    try:
        return calls[message.stage](_context(message, inputs, places, started))
    except StageRefused as error:
        return refused(str(error))


def refused(why: str) -> JobResult:
    """The result of a stage that was not run."""
    return replace(BLANK, status="refused", detail=why)


def unsendable(result: JobResult, why: str) -> JobResult:
    """What is sent in place of a result that does not fit the channel: the end without the contents, and never `ok`."""
    return replace(BLANK, exit_code=result.exit_code, detail=f"the result could not be sent: {why}", truncated=True)


def _context(message: JobInputs, inputs: InputsDocument, places: Places, started: float) -> StageContext:
    credentials = Path(places.credentials)
    Path(places.scratch).mkdir(mode=0o700, exist_ok=True)
    return StageContext(
        stage=message.stage,
        source=Path(places.source),
        scratch=Path(places.scratch),
        credentials=credentials if credentials.is_dir() else None,
        inputs=inputs,
        output_bytes=min(max(message.output_bytes, 0), _MAX_TEXT),
        wall_seconds=float(message.wall_seconds),
        clock=time.monotonic,
        started=started,
    )
