"""`lockgate policy build`: makes one bundle of the library, policy data and rules of one's own. It signs nothing and needs no gateway."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from lockgate.cli.commands.policy.options import DataFile, Rebuild, RuleFolders, compared, sources
from lockgate.cli.frame import App, Session


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
    rebuild: Rebuild = None,
) -> None:
    """Make a policy bundle (unsigned) of the library, the policy data and rules of your own; the same files give the same bytes."""
    from lockgate.policy.bundles.archive import pack
    from lockgate.policy.bundles.layout import bundle_files
    from lockgate.policy.sources.library import policy_of

    bundle = policy_of(*sources(session, data, source))
    unchecked = compared(bundle, rebuild)
    replace_file(output, pack(bundle_files(bundle)))
    document = {"ok": True, "bundle": str(output), "revision": bundle.revision, "roots": list(bundle.roots)}
    document |= {"module_is_from_rego": None if unchecked else True}
    session.screen.answer(document, lambda out: print(f"{output}: revision {bundle.revision}, not signed yet"))


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
