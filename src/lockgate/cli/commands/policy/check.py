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
        list[Path] | None,
        typer.Option(
            help="A folder of the rules that the data brings (needs opa); may stand several times. Default: `own` beside the data.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Read the policy data against its schema and, with rules of your own, everything a build would make of it."""
    from lockgate.cli.home import gateway_settings
    from lockgate.policy.building import build_policy
    from lockgate.policy.bundle import load_library, read_data
    from lockgate.policy.opa import find_opa
    from lockgate.policy.sources.library import data_file, own_folders
    from lockgate.policy.testing import check_policies, is_library

    file = data_file(data or gateway_settings(session.home).policy_data)
    libraries = [folder for folder in source or () if is_library(folder)]
    own = [folder for folder in source or () if folder not in libraries] if source else own_folders(file)
    for folder in libraries:
        check_policies(folder)
    bundle = build_policy(read_data(file), str(file), own, find_opa()) if own else load_library(file)
    document = {
        "ok": True,
        "data": str(file),
        "source": [str(folder) for folder in source or own],
        "revision": bundle.revision,
    }
    beside = f" and {', '.join(map(str, own))}" if own else ""
    session.screen.answer(
        document, lambda out: print(f"{file} is correct; with the library{beside} its revision is {bundle.revision}")
    )
