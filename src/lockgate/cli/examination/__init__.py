"""The checks of `lockgate doctor`, each one function that looks and says; they must not change anything or start a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from lockgate.cli.examination.finding import Finding
from lockgate.cli.examination.home import check_home
from lockgate.cli.examination.machine import (
    check_clock,
    check_isolation,
    check_opa,
    check_platform,
    check_sandbox,
    check_sqlite,
    check_tools,
)
from lockgate.cli.problem import expected

CHECKS: tuple[Callable[[Path], Iterable[Finding]], ...] = (
    check_platform,
    check_sqlite,
    check_sandbox,
    check_tools,
    check_opa,
    check_clock,
    check_home,
    check_isolation,
)


def examine(home: Path) -> list[Finding]:
    """Every finding of every check; a check that fails is a finding too."""
    found: list[Finding] = []
    for check in CHECKS:
        try:
            for finding in check(home):
                found.append(finding)
        except Exception as error:
            problem = expected(error)
            if problem is None:
                raise
            found.append(Finding("fault", check.__name__.removeprefix("check_"), problem.message, problem.fix))
    return found
