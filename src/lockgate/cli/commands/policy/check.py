"""`lockgate policy check`: reads policy and data as a gateway would. It changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockgate.cli.frame import App, Session


def register(app: App) -> None:
    """Add the command."""
    app.add("check")(check_policy)


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
