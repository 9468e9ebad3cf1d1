"""Options that several `lockgate policy` commands share: which data, and which rules of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lockgate.cli.frame import Session
    from lockgate.policy.bundle import PolicyBundle

DataFile = Annotated[Path | None, typer.Option(help="A data file; default: that of this home.", show_default=False)]
RuleFolders = Annotated[
    list[Path] | None,
    typer.Option(
        help="A folder of the rules that the data brings (needs opa); may stand several times. Default: `own` beside the data.",
        show_default=False,
    ),
]
Rebuild = Annotated[
    bool | None,
    typer.Option(
        "--rebuild/--no-rebuild",
        help="Compile the Rego again and compare the module to the byte (needs the opa that made it); default: where one is at hand.",
        show_default=False,
    ),
]


def sources(session: Session, data: Path | None, folders: list[Path] | None) -> tuple[Path, list[Path]]:
    """The data file and the folders of rules that these options mean. Raises SettingsError where the home's own settings are needed and wrong."""
    from lockgate.cli.home import gateway_settings
    from lockgate.policy.sources.library import data_file, own_folders

    file = data_file(data or gateway_settings(session.home).policy_data)
    return file, folders or own_folders(file)


def compared(bundle: PolicyBundle, asked: bool | None) -> str:
    """Compare a bundle's module with its Rego; "" when they are one, else why nobody compared them, which is an error where it was `asked`.

    Raises PolicyLoadError when they differ; OpaMissing and OtherCompiler when asked for; OpaFailed.
    """
    from lockgate.policy.opa import OpaMissing, find_opa
    from lockgate.policy.rebuilding import OtherCompiler, check_module

    if asked is False:
        return "it was not asked for"
    try:
        check_module(bundle, find_opa())
    except (OpaMissing, OtherCompiler) as error:
        if asked:
            raise
        return str(error)
    return ""
