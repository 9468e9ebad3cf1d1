"""`lockgate policy test`: runs the Rego tests of folders and says what they do not reach. It changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session, bad_input

if TYPE_CHECKING:
    from lockgate.policy.testing import RegoRun


def register(app: App) -> None:
    """Add the command."""
    app.add("test")(test_policy)


def test_policy(
    session: Session,
    source: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of Rego with tests; default: policies.", show_default=False),
    ] = None,
    coverage: Annotated[bool, typer.Option("--coverage", help="Also say which lines no test reaches.")] = False,
    min_coverage: Annotated[
        float | None,
        typer.Option(help="Fail below so many lines of a hundred; implies --coverage.", show_default=False),
    ] = None,
) -> Exit:
    """Run the Rego tests of folders by `opa test` (needs opa); a folder of your own may import the library."""
    from lockgate.policy.testing import run_policy_tests

    if min_coverage is not None and not 0 <= min_coverage <= 100:
        raise bad_input("min-coverage", f"--min-coverage {min_coverage:g}: must be from 0 to 100")
    run = run_policy_tests(source or [Path("policies")], coverage=coverage or min_coverage is not None)
    document, text = _told(run, min_coverage)
    session.screen.answer(document, lambda out: print("\n".join(text)))
    return Exit.OK if document["ok"] else Exit.FAILED


def _told(run: RegoRun, least: float | None) -> tuple[dict[str, Any], list[str]]:
    from lockgate.policy.coverage import percent

    failed = run.failed
    document: dict[str, Any] = {
        "ok": not failed,
        "tests": len(run.tests),
        "failed": [{"package": test.package, "name": test.name, "problem": test.problem} for test in failed],
    }
    text = [f"FAILED {test.package}.{test.name}: {test.problem}" for test in failed]
    text.append(f"{len(run.tests) - len(failed)} of {len(run.tests)} tests passed")
    if run.coverage is None:
        return document, text
    reached = percent(run.coverage)
    enough = least is None or reached >= least
    document["ok"] = document["ok"] and enough
    document["coverage"] = {
        "percent": reached,
        "files": [
            {"file": each.file, "percent": each.percent, "lines": each.lines, "missed": each.places}
            for each in run.coverage
        ],
    }
    text += [f"{each.percent:5.1f} %  {each.file}" for each in run.coverage]
    text += [f"not reached: {place}" for each in run.coverage for place in each.places]
    text.append(
        f"{reached:g} % of the lines are reached" + ("" if enough else f", and --min-coverage asks for {least:g} %")
    )
    return document, text
