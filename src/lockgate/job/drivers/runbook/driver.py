"""The runbook driver: runs a task's declared check, apply, verify and read commands; it must not decide what an exit code does not say."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from lockgate.contract.jobchannel import JobResult
from lockgate.job.drivers import process
from lockgate.job.drivers.port import BLANK, StageContext, StageRefused, resource_change
from lockgate.job.drivers.runbook.changes import BadChanges, read_changes
from lockgate.job.drivers.runbook.parameters import render_values
from lockgate.job.drivers.runbook.tasks import FILE, Task, read_task
from lockgate.job.drivers.runbook.templates import resolve_command

PROVIDER = "lockgate/runbook"
NOTHING_TO_CHANGE, WOULD_CHANGE = 0, 2
NO_CHECK = "no check command: Lockgate cannot say what would change"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SETTING = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_DETAIL_CHARACTERS = 500


class RunbookDriver:
    """See `lockgate.job.drivers.port.Driver`. `check` and `verify` exit 0 (nothing to change) or 2 (would change); anything else is a failure."""

    def plan(self, ctx: StageContext) -> JobResult:
        """The check command's answer; without one, one change and the admission that its effect is unknown."""
        task, values = _task(ctx)
        if "apply" not in task.commands:
            raise StageRefused(f"{FILE}: tasks.{task.name}: has no apply command")
        argv = _argv(ctx, task, values, "apply")
        if "check" not in task.commands:
            return replace(BLANK, status="ok", changes=(_synthetic(task, argv),), incomplete=(NO_CHECK,))
        return _compare(ctx, task, values, "check")

    def apply(self, ctx: StageContext) -> JobResult:
        """Run the apply command: exit code 0 is `ok`."""
        task, values = _task(ctx)
        return _finish(_run(ctx, _argv(ctx, task, values, "apply")), f"{task.name}: apply")

    def verify(self, ctx: StageContext) -> JobResult:
        """The verify command's answer, or the check command's; with neither, `incomplete`."""
        task, values = _task(ctx)
        command = next((name for name in ("verify", "check") if name in task.commands), None)
        if command is None:
            return replace(BLANK, status="incomplete", detail="no verify or check command")
        result = _compare(ctx, task, values, command)
        return result if result.status in ("ok", "timeout", "killed") else replace(result, status="incomplete")

    def read(self, ctx: StageContext) -> JobResult:
        """The read command's standard output."""
        task, values = _task(ctx)
        outcome = _run(ctx, _argv(ctx, task, values, "read"))
        result = _finish(outcome, f"{task.name}: read")
        return replace(result, output=outcome.stdout, log=outcome.stderr)


def _task(ctx: StageContext) -> tuple[Task, dict[str, str]]:
    task = read_task(ctx.source, ctx.inputs.entry)
    return task, render_values(task.parameters, ctx.inputs.variables)


def _argv(ctx: StageContext, task: Task, values: dict[str, str], command: str) -> list[str]:
    template = task.commands.get(command)
    if template is None:
        raise StageRefused(f"{FILE}: tasks.{task.name}: has no {command} command")
    argv = template.render(values)
    return [resolve_command(argv[0], ctx.source, ctx.scratch, template.field), *argv[1:]]


def _run(ctx: StageContext, argv: list[str]) -> process.Outcome:
    return process.run(
        process.Command(argv, environment(ctx), ctx.scratch, ctx.seconds_left, ctx.output_bytes), ctx.clock
    )


def environment(ctx: StageContext) -> dict[str, str]:
    """The whole environment of a command: nothing of the job's own. Raises StageRefused naming `settings.NAME`."""
    env = {
        "PATH": _SYSTEM_PATH,
        "HOME": str(ctx.scratch),
        "TMPDIR": str(ctx.scratch),
        "LANG": "C.UTF-8",
        "LOCKGATE_SOURCE": str(ctx.source),
        "LOCKGATE_STAGE": ctx.stage.value,
        **ctx.proxy_environment,
    }
    for name, value in ctx.inputs.settings.items():
        if not _SETTING.fullmatch(name):
            raise StageRefused(f"settings.{name[:80]}: a name is lower-case letters, digits and _")
        if not isinstance(value, str) or "\0" in value:
            raise StageRefused(f"settings.{name}: must be a string without NUL")
        env[f"LOCKGATE_SETTING_{name.upper()}"] = value
    if ctx.credentials is not None:
        env["LOCKGATE_CREDENTIALS"] = str(ctx.credentials)
    return env


def _compare(ctx: StageContext, task: Task, values: dict[str, str], command: str) -> JobResult:
    outcome = _run(ctx, _argv(ctx, task, values, command))
    result = _finish(outcome, f"{task.name}: {command}")
    if outcome.timed_out or outcome.exit_code not in (NOTHING_TO_CHANGE, WOULD_CHANGE):
        return result
    if outcome.exit_code == NOTHING_TO_CHANGE:
        return replace(result, status="ok", detail="")
    try:
        listed = () if outcome.truncated else read_changes(outcome.stdout)
    except BadChanges as error:
        return replace(result, status="failed", detail=f"{task.name}: {command} printed a bad list of changes: {error}")
    changes = listed or (_synthetic(task, _argv(ctx, task, values, "apply")),)
    incomplete = (
        (f"{command} printed more than {ctx.output_bytes} bytes; its list of changes was not read",)
        if outcome.truncated
        else ()
    )
    return replace(result, status="ok", detail="", changes=changes, incomplete=incomplete)


def _finish(outcome: process.Outcome, what: str) -> JobResult:
    log = outcome.stdout + ("\n" if outcome.stdout and outcome.stderr else "") + outcome.stderr
    detail = "" if outcome.status == "ok" else f"{what} {outcome.how}" + _last_line(outcome.stderr)
    return replace(
        BLANK, status=outcome.status, exit_code=outcome.exit_code, detail=detail, log=log, truncated=outcome.truncated
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return f": {lines[-1][:_DETAIL_CHARACTERS]}" if lines else ""


def _synthetic(task: Task, argv: list[str]) -> dict[str, Any]:
    change = {"actions": ["update"], "before": None, "after": {"argv": argv}}
    return resource_change(f"runbook_task.{task.name}", "runbook_task", task.name, PROVIDER, change)
