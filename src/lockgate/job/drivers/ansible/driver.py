"""The ansible driver: check mode says what it expects, apply runs the same sealed inputs; it must not call a partial report a plan."""

from __future__ import annotations

from dataclasses import replace

from lockgate.contract.jobchannel import JobResult
from lockgate.job.drivers import process
from lockgate.job.drivers.ansible.command import AnsibleTool, find_tool, prepare
from lockgate.job.drivers.ansible.report import BadReport, Report, read_report
from lockgate.job.drivers.port import BLANK, StageContext, StageRefused

_DETAIL_CHARACTERS = 2_000


class AnsibleDriver:
    """See `lockgate.job.drivers.port.Driver`. Plan and verify are `--check --diff`; apply is the same without `--check`."""

    def __init__(self, tool: AnsibleTool | None = None) -> None:
        self._tool = tool

    def plan(self, ctx: StageContext) -> JobResult:
        """One change per changed task and host; `incomplete` names every task check mode cannot answer for."""
        return self._play(ctx, check=True)

    def apply(self, ctx: StageContext) -> JobResult:
        """Run the playbook: `ok` when no host failed and none was unreachable."""
        result = self._play(ctx, check=False)
        return replace(result, changes=(), incomplete=())

    def verify(self, ctx: StageContext) -> JobResult:
        """Check again: no changes and nothing incomplete is the only full answer."""
        result = self._play(ctx, check=True)
        if result.status == "ok" and result.incomplete and not result.changes:
            return replace(result, status="incomplete", detail=f"check mode cannot answer: {result.incomplete[0]}")
        return replace(result, status="incomplete") if result.status == "failed" else result

    def read(self, ctx: StageContext) -> JobResult:
        """A playbook answers no question: refused."""
        raise StageRefused("action: the ansible driver has no read; use a runbook task with a read command")

    def _play(self, ctx: StageContext, *, check: bool) -> JobResult:
        run = prepare(ctx, self._tool or find_tool(), check=check)
        outcome = process.run(
            process.Command(run.argv, run.env, ctx.scratch, ctx.seconds_left, ctx.output_bytes), ctx.clock
        )
        result = replace(
            BLANK,
            status=outcome.status,
            exit_code=outcome.exit_code,
            log=outcome.stdout + ("\n" if outcome.stdout and outcome.stderr else "") + outcome.stderr,
            truncated=outcome.truncated,
        )
        try:
            report = read_report(run.events)
        except BadReport as error:
            status = "failed" if outcome.status == "ok" else outcome.status
            return replace(result, status=status, detail=f"ansible {outcome.how}; {error}{_said(outcome)}")
        return _conclude(result, outcome, report)


def _conclude(result: JobResult, outcome: process.Outcome, report: Report) -> JobResult:
    if outcome.status != "ok":
        detail = "; ".join(report.failures) or _said(outcome).removeprefix(": ")
        return replace(result, detail=f"ansible {outcome.how}: {detail}"[:_DETAIL_CHARACTERS])
    if not report.hosts:
        return replace(result, status="failed", detail="no play matched any host; nothing would ever change")
    rescued = [f"{failure} (rescued by the playbook)" for failure in report.failures]
    return replace(result, changes=tuple(report.changes), incomplete=tuple(report.incomplete + rescued))


def _said(outcome: process.Outcome) -> str:
    lines = [line for line in outcome.stderr.splitlines() if line.strip() and not line.startswith("[WARNING]")]
    return f": {' '.join(lines)[:_DETAIL_CHARACTERS]}" if lines else ""
