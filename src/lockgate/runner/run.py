"""One attempt from accepted grant to signed receipt: steps 7, 11, 12 and 13, each one named function. It must not apply without a permit.

Whatever happens in between, the end is the same: credentials revoked, sandboxes destroyed and looked for, receipt signed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

from lockgate.contract.evidence import StageOutcome
from lockgate.contract.intent import Phase, Stage
from lockgate.contract.runnerapi import StartAnswer, StartRequest
from lockgate.contract.shown import flat
from lockgate.contract.steps import step
from lockgate.runner.acceptance import Accepted, GrantRefused
from lockgate.runner.credentials.port import BrokerRefused, BrokerUnavailable, Credential
from lockgate.runner.enclosure import release
from lockgate.runner.equipment import Equipment, equip
from lockgate.runner.foresight import before_apply, before_verify, forgo, last, telling
from lockgate.runner.inputs import build_inputs
from lockgate.runner.keeping.attempt import LENT, Keeping, NotKept
from lockgate.runner.keeping.handing import STATE_FILE
from lockgate.runner.link import AttemptLink
from lockgate.runner.look import look
from lockgate.runner.parts import Parts
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.runner.seal import SealRefused, seal
from lockgate.runner.secrets import AttemptSecrets
from lockgate.runner.speech import Spoken, speak
from lockgate.runner.stages import MAX_DETAIL, Given, Going, GoTooLate, Stageable, StageRun, run_stage
from lockgate.runner.statements import Evidence, sign_receipt

CHECK_AGE_MS = 30_000
"""How old a check may be when `go` is said (invariant 3)."""


class NotStarted(Exception):
    """The gateway did not let the attempt start; nothing ran with write access."""


async def run_attempt(parts: Parts, accepted: Accepted, link: AttemptLink) -> None:
    """Everything about one attempt. Raises SandboxUnavailable; network faults are the caller's to note."""
    evidence = Evidence()
    secrets = AttemptSecrets(parts, accepted, link, evidence)
    workspace = parts.settings.workspaces / accepted.grant.attempt
    attempt: Stageable | None = None
    try:
        attempt = await seal_inputs(parts, accepted, secrets, workspace)
        await open_reading(secrets)
        if accepted.grant.phase is Phase.APPLY:
            await apply_phase(parts, attempt, link)
        else:
            await plan_phase(parts, attempt, link)
    except GrantRefused as refusal:
        # Said before the receipt: a receipt alone would tell of a runner that gave up, and the operation would be tried again.
        await link.refuse(refusal.reason)
    except NotStarted as why:
        link.note(f"not started: {why}")
    finally:
        link.point_of_no_return()  # a heartbeat that hears the attempt is over must not stop what ends it
        if attempt is not None:
            await forgo(parts, attempt)
        await tear_down(parts, accepted, link, secrets, workspace)


@step(7)
async def seal_inputs(parts: Parts, accepted: Accepted, secrets: AttemptSecrets, workspace: Path) -> Stageable:
    """Seal the source into a snapshot of this attempt's own while hashing it, and make the inputs document. Raises GrantRefused."""
    equipment = equip(parts, accepted)
    keeping = await keep_for(parts, accepted, equipment, workspace)
    source = parts.settings.sources[accepted.work.target.source]
    try:
        await asyncio.to_thread(make_workspace, workspace)
        sealed = await asyncio.to_thread(seal, source, workspace / "source")
    except (SealRefused, OSError) as error:
        raise GrantRefused(f"source: {error}") from None
    inputs = build_inputs(parts, accepted.work, equipment, sealed, keeping.mark)
    return Stageable(accepted, inputs, workspace, secrets, equipment, keeping)


async def keep_for(parts: Parts, accepted: Accepted, equipment: Equipment, workspace: Path) -> Keeping:
    """What the attempt keeps and is lent; the approved plan file must be had before anything runs. Raises GrantRefused."""
    keeping = Keeping(
        artifacts=parts.artifacts,
        states=parts.states,
        grant=accepted.grant,
        target=accepted.work.target.name,
        exact=equipment.driver.derives,
        keeps_state=equipment.keeps_state,
        workspace=workspace,
    )
    try:
        await keeping.open()
    except NotKept as error:
        raise GrantRefused(str(error)) from None
    return keeping


async def open_reading(secrets: AttemptSecrets) -> None:
    """Read credentials, if any. Raises GrantRefused when the broker will not give them."""
    try:
        await secrets.open_reading()
    except (BrokerRefused, BrokerUnavailable) as error:
        raise GrantRefused(f"credential: {error}") from None


@step(7)
async def plan_phase(parts: Parts, attempt: Stageable, link: AttemptLink) -> None:
    """Start, one read-only look (at what would change, or after an unknown apply at what holds; or a read), canonical plan, signed manifest; the plan file is kept before anybody hears of it."""
    given = Given(started(await link.start(StartRequest(link.fence, attempt.inputs.sha256, None, None))))
    phase = attempt.accepted.grant.phase
    if phase is Phase.READ:
        run = await run_stage(parts, attempt, Stage.READ, given, telling(parts, attempt, last))
    elif phase is Phase.VERIFY:
        run = await look(parts, attempt, Stage.VERIFY, given)
    else:
        run = await keep(attempt, await look(parts, attempt, Stage.PLAN, given))
    await link.report(((await speak(parts, attempt, run)).report,))


@step(7)
async def keep(attempt: Stageable, run: StageRun) -> StageRun:
    """The run, its plan file kept; failed where that cannot be: a plan that nobody could apply is none."""
    if run.plan_file is None or run.outcome.status != "ok":
        return run
    try:
        await attempt.keeping.keep_plan(run.plan_file)
    except NotKept as error:
        return replace(run, result=None, outcome=StageOutcome("failed", None, str(error)))
    return run


async def apply_phase(parts: Parts, attempt: Stageable, link: AttemptLink) -> None:
    """Check, start, apply, revoke, verify: in this order or not at all."""
    if attempt.accepted.grant.inputs_sha256 != attempt.inputs.sha256:
        # The source, tool or arguments are not what was approved: say so; the gateway plans again (invariant 3).
        started(await link.start(StartRequest(link.fence, attempt.inputs.sha256, None, None)))
        raise NotStarted("the sealed inputs differ from the approved ones")
    checked = await check(parts, attempt)
    if not checked.ok:
        await link.report((checked.report,))
        return
    applied = await apply(parts, attempt, link, checked)
    verified = await verify(parts, attempt)
    await link.report((applied.report,) if verified is None else (applied.report, verified.report))


@step(11)
async def check(parts: Parts, attempt: Stageable) -> Spoken:
    """Plan again in a fresh read-only sandbox, right before apply; the gateway compares."""
    return await speak(parts, attempt, await look(parts, attempt, Stage.CHECK, after=before_apply(attempt)))


@step(12)
async def apply(parts: Parts, attempt: Stageable, link: AttemptLink, checked: Spoken) -> Spoken:
    """*Start* with the check's manifest; only with its permit do write credentials exist; then a sandbox that never ran planning code."""
    report = checked.report
    permit = started(await link.start(StartRequest(link.fence, attempt.inputs.sha256, report.manifest, report.plan)))
    received_at = parts.clock()
    link.point_of_no_return()
    credential: Credential | None = None
    run: StageRun | None = None
    why = ""
    try:
        plan_file = await attempt.keeping.approved_plan()
        credential = await attempt.secrets.open_writing(permit, received_at)
        state_file = await attempt.keeping.lend_state()
        files = credential.files if credential is not None else {}
        # A sandbox behind a dead node may take for ever to be gone: its credentials do not wait for that.
        over = partial(revoke, attempt, credential)
        going = Going(permit, files, min(checked.run.ended_at + CHECK_AGE_MS, link.deadline), state_file, over)
        given = Given(plan_file=plan_file, going=going)
        run = await run_stage(parts, attempt, Stage.APPLY, given, telling(parts, attempt, before_verify))
    except GoTooLate:
        why = "the check was too old when everything else was ready; nothing was applied"
    except (BrokerRefused, BrokerUnavailable) as error:
        why = f"no write credential: {error}; nothing was applied"
    except NotKept as error:
        why = f"{error}; nothing was applied"
    except SandboxUnavailable as error:
        # Only a start that failed raises it: no job was there to be told to go.
        why = f"no sandbox: {error}; nothing was applied"
    finally:
        await revoke(attempt, credential)
        await settle(attempt)
    return await speak(parts, attempt, run or refused(parts, why))


@step(13)
async def settle(attempt: Stageable) -> None:
    """The state an apply left is taken back, and its plan file destroyed: both whatever became of it."""
    gone = all(box.torn_down for box in attempt.secrets.evidence.sandboxes)
    await attempt.keeping.take_state_back(gone=gone)
    await attempt.keeping.forget_plan()


@step(13)
async def revoke(attempt: Stageable, credential: Credential | None) -> None:
    """Write credentials are gone before anything else happens; idempotent."""
    await attempt.secrets.close(credential, "write")


@step(13)
async def verify(parts: Parts, attempt: Stageable) -> Spoken | None:
    """A new read-only sandbox looks at what holds now; None when none could be made, or the state that it would look with could not be taken."""
    if attempt.keeping.trouble:
        return None
    try:
        return await speak(parts, attempt, await look(parts, attempt, Stage.VERIFY))
    except SandboxUnavailable:
        return None


@step(13)
async def tear_down(
    parts: Parts, accepted: Accepted, link: AttemptLink, secrets: AttemptSecrets, workspace: Path
) -> None:
    """The attempt's directory is gone, every sandbox was looked for; the receipt says so, and is kept until the gateway has it."""
    await secrets.close_reading()
    await release(parts, accepted.grant.attempt, secrets.evidence)
    await asyncio.to_thread(remove_workspace, workspace)
    receipt = sign_receipt(parts, accepted, secrets.evidence)
    parts.journal.receipt_signed(accepted.grant.attempt, receipt, proven=secrets.evidence.proven)
    if await link.try_receipt(receipt):
        parts.journal.receipt_taken(accepted.grant.attempt)


def remove_workspace(workspace: Path) -> None:
    """Remove the attempt's directory, sealed snapshot included; idempotent. Raises OSError."""
    for directory, _, _ in os.walk(workspace):  # sealed directories are read-only; os.walk follows no link
        Path(directory).chmod(0o700)
    if not workspace.is_dir():
        return
    shutil.rmtree(workspace / "source", ignore_errors=True)
    if not (workspace / LENT / STATE_FILE).exists():  # else it could not be taken back yet: the next start does
        shutil.rmtree(workspace)


def make_workspace(workspace: Path) -> None:
    """The attempt's own directory: a sandbox's uid must reach its snapshot, and may list nobody's."""
    workspace.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    workspace.mkdir(mode=0o711)


def started(answer: StartAnswer) -> str:
    """The permit of a start. Raises NotStarted."""
    if answer.permit is None:
        raise NotStarted("the plan differs; it is planned again" if answer.differs else str(answer.refused))
    return answer.permit


def refused(parts: Parts, why: str) -> StageRun:
    """An apply of which no sandbox was told to go."""
    return StageRun(Stage.APPLY, "", StageOutcome("refused", None, flat(why, limit=MAX_DETAIL)), None, parts.clock())
