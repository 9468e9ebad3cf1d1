"""`lockgate doctor`: what is missing on this machine and in this home, and the one thing to do about each. It changes nothing."""

from __future__ import annotations

from typing import Any

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session

STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "fault": "bold red"}


def register(app: App) -> None:
    """Add the command."""
    app.add("doctor")(doctor)


def doctor(session: Session) -> Exit:
    """Look at everything Lockgate needs: sandbox, tools, ports, keys, clock, disk, catalog, policy; says the fix for each fault."""
    from lockgate.cli.examination import examine

    findings = examine(session.home)
    faults = sum(finding.level == "fault" for finding in findings)
    document = {"ok": not faults, "findings": [finding.document() for finding in findings]}

    def render(out: Any) -> None:
        from rich.text import Text

        for finding in findings:
            out.print(Text(f"{finding.level:<8}", STYLES[finding.level]) + Text(f"{finding.name}: {finding.message}"))
            if finding.fix:
                out.print(Text(f"         fix: {finding.fix}"))

    session.screen.answer(document, render)
    return Exit.FAILED if faults else Exit.OK
