"""`lockgate policy build`: makes one bundle of the library, policy data and rules of one's own. It signs nothing and needs no gateway."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockgate.cli.commands.policy.options import DataFile, RuleFolders
from lockgate.cli.frame import App, Session

if TYPE_CHECKING:
    from lockgate.policy.bundle import PolicyBundle


def register(app: App) -> None:
    """Add the command."""
    app.add("build")(build_bundle)


def build_bundle(
    session: Session,
    output: Annotated[Path, typer.Option(help="The bundle to write; one that is there is replaced.")] = Path(
        "policy.tar.gz"
    ),
    data: DataFile = None,
    source: RuleFolders = None,
) -> None:
    """Make a policy bundle (unsigned) of the library, the policy data and rules of your own; the same files give the same bytes."""
    from lockgate.cli.home import gateway_settings
    from lockgate.policy.bundles.archive import pack
    from lockgate.policy.bundles.layout import bundle_files
    from lockgate.policy.sources.library import data_file, own_folders

    file = data_file(data or gateway_settings(session.home).policy_data)
    bundle = built(file, source or own_folders(file))
    replace_file(output, pack(bundle_files(bundle)))
    document = {"ok": True, "bundle": str(output), "revision": bundle.revision, "roots": list(bundle.roots)}
    session.screen.answer(document, lambda out: print(f"{output}: revision {bundle.revision}, not signed yet"))


def built(file: Path, folders: list[Path]) -> PolicyBundle:
    """The bundle of a data file and folders of rules. Raises PolicyLoadError, OpaMissing and OpaFailed; `opa` is run only where Rego is new."""
    from lockgate.policy.building import build_policy
    from lockgate.policy.bundle import load_library, read_data
    from lockgate.policy.opa import find_opa
    from lockgate.policy.parameters import read_parameters

    text = read_data(file)
    if folders or read_parameters(text, str(file))["bring"]:
        return build_policy(text, str(file), folders, find_opa())
    return load_library(file)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, all at once: whoever reads it sees the old file or the new one. Raises OSError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
