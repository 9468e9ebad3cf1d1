"""The job: verifies the grant again, runs one stage of one driver, reports; it must not run a tool before every check has passed."""

from __future__ import annotations

import os
import sys
import time

from lockgate.contract import jobplaces, shapes
from lockgate.job import verify
from lockgate.job.channel import Channel, NoChannel, take_channel
from lockgate.job.drivers import registry
from lockgate.job.places import Places, places
from lockgate.job.verify import JobRefused
from lockgate.wire.frames import SMALL_MESSAGE_BYTES, FrameError, frame, read_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lockgate.contract.grant import Grant
    from lockgate.contract.jobchannel import JobInputs
    from lockgate.contract.keyset import Keyset

EXIT_REFUSED = 70


def main(where: Places | None = None) -> int:
    """Run the job on the inherited channel. Exit codes: 0 a result was sent, 70 refused (one line on stderr names the check)."""
    try:
        channel = take_channel()
        try:
            serve(channel, where or places(os.environ))
        finally:
            channel.close()
    except NoChannel as nothing:
        return _refuse(f"channel: {nothing}")
    except JobRefused as refused:
        return _refuse(str(refused))
    return 0


def _refuse(why: str) -> int:
    sys.stderr.write(f"lockgate job refused: {ascii(why)[1:-1][:2000]}\n")
    return EXIT_REFUSED


def serve(channel: Channel, places: Places) -> None:
    """One stage from hello to result (TRUST §2, §4). Raises JobRefused when a check fails before `ready`; no tool has run then."""
    started = time.monotonic()
    # 1. Whose word counts: the keyset the runner mounted, under the root key it pins.
    keyset = verify.trusted_keyset(places.keyset, places.root_key, int(time.time() * 1000))
    _send(channel, frame(jobplaces.HELLO))
    body = _receive(channel, "inputs")
    message = _read_message(body)
    # 2. The grant: this deployment's, unaltered, and for a phase this stage belongs to.
    grant = verify.verified_grant(message.grant, keyset)
    verify.check_stage(message.stage, grant)
    # 3. The inputs: byte for byte those that the grant, or the permit of this very grant, names.
    _check_inputs(message, grant, keyset)
    inputs = verify.read_inputs(message.inputs)
    # 4. The source on disk is the sealed one, and so is the plan file; a derive stage sees no source at all (TRUST §2).
    if message.stage != "derive":
        verify.check_source(places.source, inputs)
    verify.check_plan_file(places.plan, message.plan_sha256, message.stage)
    # 5. The driver, by name; it is loaded only after `ready`.
    loader = registry.find(inputs.driver)
    if loader is None:
        raise JobRefused("driver", f"{inputs.driver!r} is not a driver of this job")
    _send(channel, frame(jobplaces.READY))
    # 6. The stage; at apply only after `go`, with a permit for exactly these inputs.
    refusal = _await_go(channel, message, grant, keyset) if message.stage == "apply" else None
    from lockgate.job import stage

    # 7. The report: a claim, whatever it says.
    if refusal is None:
        _send(channel, stage.report(stage.run_stage(loader, body, places, started)))
    else:
        _send(channel, stage.report(stage.refused(str(refusal))))


def _check_inputs(message: JobInputs, grant: Grant, keyset: Keyset) -> None:
    if message.stage == "apply" and message.permit is not None:
        raise JobRefused("permit", "at apply it comes with go, not with the inputs")
    if grant.inputs_sha256 is not None:
        verify.check_digest(message.inputs, grant.inputs_sha256, "grant")
    elif message.permit is None:
        raise JobRefused("permit", f"the stage {message.stage} needs one with its inputs")
    if message.permit is not None:
        permit = verify.verified_permit(message.permit, keyset, grant, message.grant)
        verify.check_digest(message.inputs, permit.inputs_sha256, "permit")


def _await_go(channel: Channel, message: JobInputs, grant: Grant, keyset: Keyset) -> JobRefused | None:
    body = _receive(channel, "go", SMALL_MESSAGE_BYTES)
    try:
        envelope = body.get("permit")
        if set(body) != {"permit"} or not isinstance(envelope, str):
            raise JobRefused("go", "must carry exactly a permit")
        permit = verify.verified_permit(envelope, keyset, grant, message.grant)
        verify.check_digest(message.inputs, permit.inputs_sha256, "permit")
    except JobRefused as refused:
        return refused
    return None


def _send(channel: Channel, whole: bytes) -> None:
    try:
        channel.sendall(whole)
    except OSError as error:
        raise JobRefused("channel", f"the runner is gone: {error.strerror}") from None


def _read_message(body: dict[str, Any]) -> JobInputs:
    try:
        message: JobInputs = shapes.read(shapes.JOB_INPUTS, body)
    except shapes.DocumentError as error:
        raise JobRefused("inputs", str(error)) from None
    return message


def _receive(channel: Channel, kind: str, limit: int = verify.MAX_INPUTS_BYTES * 2) -> dict[str, Any]:
    try:
        message = read_frame(channel, limit)
    except FrameError as error:
        raise JobRefused("channel", f"while waiting for {kind}: {error}") from None
    except OSError as error:
        raise JobRefused("channel", f"while waiting for {kind}: {error.strerror}") from None
    if message.pop("type", None) != kind:
        raise JobRefused("channel", f"expected {kind} and nothing else")
    return message
