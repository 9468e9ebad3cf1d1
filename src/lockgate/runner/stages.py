"""Runs one stage: a fresh sandbox, the fixed conversation with its job, teardown that is checked. What a job says is a claim."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lockgate.contract import jobchannel
from lockgate.contract.canonical import sha256
from lockgate.contract.codec import DocumentError, from_document, to_document
from lockgate.contract.evidence import SandboxReceipt, StageOutcome
from lockgate.contract.grant import Limits
from lockgate.contract.intent import Stage
from lockgate.contract.jobchannel import JobInputs, JobResult
from lockgate.contract.redaction import Redactor
from lockgate.contract.shown import flat
from lockgate.runner.acceptance import Accepted
from lockgate.runner.egress.stage import receipts_of, rules_for
from lockgate.runner.enclosure import enclosure_of
from lockgate.runner.equipment import Equipment
from lockgate.runner.inputs import Inputs
from lockgate.runner.keeping.attempt import Keeping
from lockgate.runner.parts import Parts
from lockgate.runner.sandbox.port import (
    Bind,
    ChannelError,
    ExitReport,
    InjectedFile,
    RunningSandbox,
    SandboxLimits,
    SandboxSpec,
    SandboxUnavailable,
    SpecRefused,
)
from lockgate.runner.secrets import AttemptSecrets

GRACE_SECONDS = 10
JOB_MARGIN_SECONDS = 3
MAX_DETAIL = 2000
_STATUSES = frozenset({"ok", "failed", "incomplete", "refused", "timeout", "killed"})


class GoTooLate(Exception):
    """The check is too old to apply on; nothing was applied."""


@dataclass(frozen=True, slots=True)
class Stageable:
    """An attempt with what every one of its stages shares; `workspace` is its own directory, with the sealed source in it. `foreseen`: sandboxes that may stand by
    already, by their stage (foresight.py)."""

    accepted: Accepted
    inputs: Inputs
    workspace: Path
    secrets: AttemptSecrets
    equipment: Equipment
    keeping: Keeping
    foreseen: dict[Stage, str] = field(default_factory=dict)

    @property
    def snapshot(self) -> Path:
        """The sealed source."""
        return self.workspace / "source"


@dataclass(frozen=True, slots=True)
class Going:
    """What lets an apply stage go: the permit, the write credentials, the last moment (CLOCK_BOOTTIME ms) at which `go` may be said, the file of
    a kept state that the stage may write, and what is done as soon as its job has ended, before anybody waits for its sandbox to be gone."""

    permit: str
    files: Mapping[str, bytes] = field(repr=False)
    latest: int = 0
    state_file: Path | None = None
    over: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What one stage gets that others of its attempt do not: the permit of a plan or read, a plan file, leave to go."""

    permit: str | None = None
    plan_file: bytes | None = field(default=None, repr=False)
    going: Going | None = None


NOTHING = Given()


@dataclass(frozen=True, slots=True)
class StageRun:
    """How a stage ended. `result` is masked, and None when the job brought none. `plan_file` and the sandbox it was `derived_in`: see look.py."""

    stage: Stage
    sandbox: str
    outcome: StageOutcome
    result: JobResult | None
    ended_at: int
    plan_file: bytes | None = field(default=None, repr=False)
    derived_in: str = ""


def nothing_to_tell(_: JobResult | None) -> None:
    """Nobody knows what follows."""


async def run_stage(
    parts: Parts,
    attempt: Stageable,
    stage: Stage,
    given: Given = NOTHING,
    tell: Callable[[JobResult | None], None] = nothing_to_tell,
) -> StageRun:
    """One sandbox from start to checked teardown; `tell` what came of it before that. Only apply takes `going`. Raises GoTooLate, SandboxUnavailable."""
    spec = specification(parts, attempt, stage, given)
    if stage in attempt.foreseen:
        spec = replace(spec, id=attempt.foreseen.pop(stage))
    else:
        parts.journal.sandbox_started(attempt.accepted.grant.attempt, spec.id)
    redactor = attempt.secrets.redactor
    running: RunningSandbox | None = None
    result: JobResult | None = None
    try:
        running = await parts.sandbox.start(spec)
        async with asyncio.timeout(spec.limits.wall_seconds + GRACE_SECONDS):
            said = await converse(parts, attempt, stage, running, given)
            # In a thread: what a tool says of ten thousand changes takes a while to go through.
            result = await asyncio.to_thread(masked, said, redactor)
            outcome = StageOutcome(result.status, result.exit_code, result.detail)
    except (ChannelError, TimeoutError) as error:
        outcome = await no_result(running, error, redactor)
    except SpecRefused as error:
        outcome = StageOutcome("refused", None, flat(str(error), limit=MAX_DETAIL))
    finally:
        try:
            if given.going is not None and given.going.over is not None:
                await given.going.over()
            tell(result)
        finally:
            await tear_down(parts, attempt.secrets, stage, spec.id, running)
    return StageRun(stage, spec.id, outcome, result, parts.clock())


async def converse(parts: Parts, attempt: Stageable, stage: Stage, running: RunningSandbox, given: Given) -> JobResult:
    """hello, inputs, ready, [go], result: each once. Raises ChannelError, GoTooLate."""
    channel = running.channel
    hello = await channel.receive()
    if hello.get("version") != jobchannel.VERSION:
        raise ChannelError("malformed", "hello.version")
    limits = attempt.accepted.grant.limits
    inputs = JobInputs(
        stage,
        attempt.accepted.envelope,
        given.permit,
        attempt.inputs.text,
        limits.output_bytes,
        # The job ends its tool a little earlier, so that it can still say what happened.
        max(1, limits.wall_seconds - JOB_MARGIN_SECONDS),
        sha256(given.plan_file) if given.plan_file is not None else None,
    )
    await channel.send({"type": "inputs", **to_document(inputs)})
    await channel.receive()
    if given.going is not None:
        if parts.clock() > given.going.latest:
            raise GoTooLate
        await channel.send({"type": "go", "permit": given.going.permit})
    message = await channel.receive()
    try:
        return from_document(JobResult, {name: value for name, value in message.items() if name != "type"}, "result")
    except DocumentError as error:
        raise ChannelError("malformed", str(error)) from None


def specification(parts: Parts, attempt: Stageable, stage: Stage, given: Given) -> SandboxSpec:
    """The sandbox of a stage: what `place` and `furnish` give it, within the grant's limits."""
    if (stage is Stage.APPLY) != (given.going is not None):
        raise ValueError(f"the stage {stage} and a permit to go do not belong together")
    return SandboxSpec(
        id=parts.random(16).hex(),
        stage=stage.value,
        argv=parts.job_root.argv(),
        env=parts.job_root.environment(),
        binds=(
            Bind(parts.job_root.path, jobchannel.SANDBOX_ROOT),
            *attempt.equipment.binds,
            *places(attempt, stage, given),
        ),
        files=tuple(furnishing(parts, attempt, stage, given)),
        limits=sandbox_limits(attempt.accepted.grant.limits),
        egress=rules_for(parts.settings, attempt.accepted, stage),
        enclosure=enclosure_of(parts.region_secret, attempt.accepted.grant.attempt),
        sandbox_class=parts.settings.sandbox.class_for(attempt.accepted.grant.sandbox) or "",
    )


def places(attempt: Stageable, stage: Stage, given: Given) -> list[Bind]:
    """The sealed source, read-only, and the target's own paths, writable at apply alone; derive gets neither (TRUST §2)."""
    if stage is Stage.DERIVE:
        return []
    binds = [Bind(attempt.snapshot, jobchannel.SANDBOX_SOURCE)]
    going = given.going
    for path in attempt.accepted.target.paths:
        binds.append(Bind(path.path, path.target, going is not None and path.mode == "write", path.gid))
    if going is not None and going.state_file is not None:
        binds.append(Bind(going.state_file, jobchannel.SANDBOX_STATE_FILE, writable=True, owned=True))
    return binds


def furnishing(parts: Parts, attempt: Stageable, stage: Stage, given: Given) -> list[InjectedFile]:
    """Files in memory: pinned trust, the plan file, a kept state to look at, and secrets; of these derive gets the plan file alone."""
    files = [
        InjectedFile(jobchannel.KEYSET_FILE, parts.trust.keyset_envelope, 0o444),
        InjectedFile(jobchannel.ROOT_KEY_FILE, parts.trust.root_public, 0o444),
    ]
    if given.plan_file is not None:
        files.append(InjectedFile(jobchannel.SANDBOX_PLAN, given.plan_file))
    if stage is Stage.DERIVE:
        return files
    if given.going is None:
        files += attempt.keeping.state_files()
    reading = attempt.secrets.reading.files if attempt.secrets.reading is not None else {}
    secret = given.going.files if given.going is not None else reading
    return files + [InjectedFile(f"{jobchannel.SANDBOX_CREDENTIALS}/{name}", data) for name, data in secret.items()]


def sandbox_limits(limits: Limits) -> SandboxLimits:
    """A grant's limits as the sandbox port takes them."""
    return SandboxLimits(**{name: getattr(limits, name) for name in limits.__slots__})


async def no_result(
    running: RunningSandbox | None, error: ChannelError | TimeoutError, redactor: Redactor
) -> StageOutcome:
    """What to say of a stage whose job brought no result: the tool's end as the sandbox saw it."""
    report: ExitReport | None = None
    if running is not None and isinstance(error, ChannelError):
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                report = await running.wait()
        except TimeoutError:
            report = None
    if report is None:
        return StageOutcome(
            "timeout" if isinstance(error, TimeoutError) else "failed", None, "the job brought no result"
        )
    said = redactor.text(report.output_tail.decode("utf-8", "replace")).strip().splitlines()
    detail = f"{error}; the sandbox ended by {report.cause}"
    if report.signal is not None:
        detail += f" (signal {report.signal})"
    if report.reason:
        detail += f", {report.reason}"
    if said:
        detail += f": {said[-1]}"
    status = {"wall": "timeout", "cpu": "timeout", "oom": "killed", "disk": "killed", "signal": "killed"}.get(
        report.cause, "failed"
    )
    return StageOutcome(status, report.exit_code, flat(detail, limit=MAX_DETAIL))


def masked(result: JobResult, redactor: Redactor) -> JobResult:
    """The result with every known secret masked, in texts and changes alike; an unknown status is a failure."""
    status = result.status if result.status in _STATUSES else "failed"
    return replace(
        result,
        status=status,
        changes=tuple(redactor.value(change) for change in result.changes),
        document=redactor.value(result.document),
        incomplete=tuple(redactor.text(item) for item in result.incomplete),
        provisioners=tuple(redactor.text(item) for item in result.provisioners),
        providers=tuple(redactor.text(item) for item in result.providers),
        output=redactor.text(result.output),
        detail=flat(redactor.text(result.detail), limit=MAX_DETAIL),
        log=redactor.text(result.log),
    )


async def tear_down(
    parts: Parts, secrets: AttemptSecrets, stage: Stage, sandbox: str, running: RunningSandbox | None
) -> None:
    """Destroy a sandbox and note what the look afterwards found; never skipped, whatever happened before."""
    gone, checks = False, {"looked": False}
    try:
        proof = await parts.sandbox.destroy(sandbox)
        gone, checks = proof.torn_down, dict(proof.checks)
    except SandboxUnavailable:
        checks = {"provider_available": False}
    finally:
        # Also when the look itself was cut short: a receipt that left this sandbox out would prove too much.
        limits = tuple(sorted(f"{name}: {by}" for name, by in running.limits_in_force.items())) if running else ()
        shared = running.uid_shared if running is not None else False
        tunnels = receipts_of(sandbox, running.tunnels if running is not None else (), secrets.redactor)
        image = running.image if running is not None else None
        secrets.evidence.sandboxes.append(SandboxReceipt(sandbox, stage, gone, checks, limits, shared, tunnels, image))
    if gone:
        parts.journal.sandbox_gone(sandbox)
