"""`lockgate catalog check` and `lockgate policy check|test`: what an author runs before a gateway loads it. They change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session

if TYPE_CHECKING:
    from lockgate.gateway.catalog.errors import CatalogError

catalog = App("Check the catalog of actions and targets.")
policy = App("Check and test policies and their data.")


@catalog.add("check")
def check_catalog(
    session: Session,
    directory: Annotated[
        Path | None, typer.Argument(help="The catalog's directory; default: that of this home.", show_default=False)
    ] = None,
) -> Exit:
    """Read the whole catalog and say every fault with file, line and column."""
    from lockgate.cli.home import gateway_settings
    from lockgate.contract.drivers import declarations
    from lockgate.gateway.catalog.errors import CatalogErrors
    from lockgate.gateway.catalog.load import load_directory

    place = directory or gateway_settings(session.home).catalog
    try:
        found = load_directory(place, declarations())
    except CatalogErrors as errors:
        faults = [_fault(error) for error in errors.errors]
        lines = [f"{place / error.file}{_where(error)}" for error in errors.errors]
        document = {"ok": False, "directory": str(place), "errors": faults}
        session.screen.answer(document, lambda out: print("\n".join(lines)))
        return Exit.FAILED
    document = {
        "ok": True,
        "directory": str(place),
        "revision": found.revision,
        "actions": sorted(found.actions),
        "targets": sorted(found.targets),
    }
    counts = f"{len(found.actions)} actions and {len(found.targets)} targets are correct in {place} ({found.revision})"
    session.screen.answer(document, lambda out: print(counts))
    return Exit.OK


def _fault(error: CatalogError) -> dict[str, Any]:
    return {name: getattr(error, name) for name in ("file", "line", "column", "field", "message")}


def _where(error: CatalogError) -> str:
    said = f"{error.field}: {error.message}" if error.field else error.message
    return f":{error.line}:{error.column}: {said}"


@policy.add("check")
def check_policy(
    session: Session,
    data: Annotated[
        Path | None, typer.Option(help="A data file; default: that of this home.", show_default=False)
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="Also check a folder of Rego (needs opa).", show_default=False)
    ] = None,
) -> None:
    """Read the policy data against its schema and, with --source, the Rego by `opa check --strict`."""
    from lockgate.cli.home import gateway_settings
    from lockgate.gateway.reloading import data_file
    from lockgate.policy.bundle import load_library
    from lockgate.policy.testing import check_policies

    file = data_file(data or gateway_settings(session.home).policy_data)
    bundle = load_library(file)
    if source is not None:
        check_policies(source)
    document = {"ok": True, "data": str(file), "source": str(source) if source else None, "revision": bundle.revision}
    session.screen.answer(
        document, lambda out: print(f"{file} is correct; with the library its revision is {bundle.revision}")
    )


@policy.add("test")
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
