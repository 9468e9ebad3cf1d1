"""`lockgate policy check`: reads policy and data as a gateway would. It changes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lockgate.cli.commands.policy.options import DataFile, RuleFolders, sources
from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session


def register(app: App) -> None:
    """Add the command."""
    app.add("check")(check_policy)


def check_policy(
    session: Session,
    data: DataFile = None,
    source: RuleFolders = None,
) -> Exit:
    """Read the policy data against its schema and, with rules of your own, everything a build would make of it: faults are told by file and line."""
    from lockgate.policy.opa import OpaFailed
    from lockgate.policy.port import PolicyLoadError

    file, folders = sources(session, data, source)
    document: dict[str, Any] = {"ok": True, "data": str(file), "source": [str(folder) for folder in folders]}
    try:
        revision = _revision(file, folders)
    except PolicyLoadError as error:
        faults = [{"file": error.file, "line": error.line, "field": error.field, "message": error.problem}]
        return _faulty(session, document, faults, [str(error)])
    except OpaFailed as failed:
        lines = [line for line in str(failed).splitlines() if not re.fullmatch(r"\d+ errors occurred:", line)]
        return _faulty(session, document, [_fault(line) for line in lines], lines)
    beside = f" and {', '.join(map(str, folders))}" if folders else ""
    said = f"{file} is correct; with the library{beside} its revision is {revision}"
    session.screen.answer({**document, "revision": revision}, lambda out: print(said))
    return Exit.OK


def _revision(file: Path, folders: list[Path]) -> str:
    """Raises PolicyLoadError, OpaMissing, OpaFailed."""
    from lockgate.policy.sources.library import policy_of
    from lockgate.policy.testing import check_policies, is_library

    libraries = [folder for folder in folders if is_library(folder)]
    own = [folder for folder in folders if folder not in libraries]
    for folder in libraries:
        check_policies(folder)
    return policy_of(file, own).revision


def _faulty(session: Session, document: dict[str, Any], faults: list[dict[str, Any]], lines: list[str]) -> Exit:
    session.screen.answer({**document, "ok": False, "errors": faults}, lambda out: print("\n".join(lines)))
    return Exit.FAILED


def _fault(line: str) -> dict[str, Any]:
    """A line of `opa`: file, line and what is wrong, where it says so."""
    found = re.fullmatch(r"(?:\d+ errors? occurred: )?(.+?):(\d+): (.*)", line)
    file, number, message = found.groups() if found else (None, None, line)
    return {"file": file, "line": int(number) if number else None, "field": None, "message": message}
