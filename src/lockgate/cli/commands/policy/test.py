"""`lockgate policy test`: runs the Rego tests of a folder. It changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session


def register(app: App) -> None:
    """Add the command."""
    app.add("test")(test_policy)


def test_policy(
    session: Session,
    source: Annotated[Path, typer.Argument(help="A folder of Rego with tests.")] = Path("policies"),
) -> Exit:
    """Run the Rego tests of a folder by `opa test` (needs opa)."""
    from lockgate.policy.testing import run_policy_tests

    results = run_policy_tests(source)
    failed = [test for test in results if not test.passed]
    document = {
        "ok": not failed,
        "tests": len(results),
        "failed": [{"package": test.package, "name": test.name, "problem": test.problem} for test in failed],
    }
    text = [f"FAILED {test.package}.{test.name}: {test.problem}" for test in failed]
    text.append(f"{len(results) - len(failed)} of {len(results)} tests passed")
    session.screen.answer(document, lambda out: print("\n".join(text)))
    return Exit.FAILED if failed else Exit.OK
