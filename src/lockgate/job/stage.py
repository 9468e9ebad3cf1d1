"""Runs one stage of a driver, after every check has passed; loaded only then, so that `ready` does not wait for it. It must not check or skip a check."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockgate.contract import jobchannel, strictjson
from lockgate.contract.codec import from_document, to_document
from lockgate.contract.intent import Stage
from lockgate.contract.jobchannel import JobInputs, JobResult
from lockgate.contract.work import InputsDocument
from lockgate.job.drivers.port import BLANK, Driver, StageContext, StageRefused
from lockgate.job.places import Places
from lockgate.job.verify import MAX_INPUTS_BYTES
from lockgate.wire.frames import FrameError, encode

_MAX_TEXT = 2 << 20


def run_stage(loader: Callable[[], Driver], body: dict[str, Any], places: Places, started: float) -> JobResult:
    """The driver's claim on the message that was checked; a refusal by the driver is a result of status `refused`, with the reason.

    The message is read again, into the dataclasses that drivers know: what was checked and what is run are the same text.
    """
    message = from_document(JobInputs, body)
    inputs = from_document(InputsDocument, strictjson.loads(message.inputs.encode(), max_bytes=MAX_INPUTS_BYTES))
    context = _context(message, inputs, places, started)
    try:
        return _call(loader(), message.stage)(context)
    except StageRefused as error:
        return refused(str(error))


def _call(driver: Driver, stage: Stage) -> Callable[[StageContext], JobResult]:
    if stage is Stage.DERIVE:
        # A driver of predicted fidelity has nothing to derive; it lacks the method.
        derive: Callable[[StageContext], JobResult] | None = getattr(driver, "derive", None)
        if derive is None:
            raise StageRefused("stage: this driver has no plan file to derive anything from")
        return derive
    return {
        Stage.PLAN: driver.plan,
        Stage.CHECK: driver.plan,
        Stage.APPLY: driver.apply,
        Stage.VERIFY: driver.verify,
        Stage.READ: driver.read,
    }[stage]


def refused(why: str) -> JobResult:
    """The result of a stage that was not run."""
    return replace(BLANK, status="refused", detail=why)


def report(result: JobResult) -> bytes:
    """The last message, as a frame."""
    try:
        return encode({"type": "result", **to_document(result)})
    except FrameError as error:
        return encode({"type": "result", **to_document(unsendable(result, str(error)))})


def unsendable(result: JobResult, why: str) -> JobResult:
    """What is sent in place of a result that does not fit the channel: the end without the contents, and never `ok`."""
    return replace(BLANK, exit_code=result.exit_code, detail=f"the result could not be sent: {why}", truncated=True)


def _context(message: JobInputs, inputs: InputsDocument, places: Places, started: float) -> StageContext:
    if message.stage is Stage.DERIVE:
        # No word of an agent reaches the tool that says what a plan means: the driver is not even given one (TRUST §2).
        inputs = replace(inputs, entry="", variables={})
    Path(places.scratch).mkdir(mode=0o700, exist_ok=True)
    return StageContext(
        stage=message.stage,
        source=Path(places.source),
        scratch=Path(places.scratch),
        credentials=_directory(places.credentials),
        inputs=inputs,
        output_bytes=min(max(message.output_bytes, 0), _MAX_TEXT),
        wall_seconds=float(message.wall_seconds),
        clock=time.monotonic,
        started=started,
        plan_file=Path(places.plan) if message.plan_sha256 is not None else None,
        state=_directory(places.state),
        tool=_directory(places.tool),
        providers=_directory(places.providers),
        proxy=_proxy(os.environ.get(jobchannel.EGRESS_VARIABLE)),
    )


def _directory(place: str) -> Path | None:
    found = Path(place)
    return found if found.is_dir() else None


def _proxy(path: str | None) -> str | None:
    if path is None:
        return None
    from lockgate.job.egress import local_proxy

    return local_proxy(path)
