"""`lockgate catalog check`: what an author runs before a gateway loads it. It changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session

if TYPE_CHECKING:
    from lockgate.gateway.catalog.errors import CatalogError

app = App("Check the catalog of actions and targets.")


@app.add("check")
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
