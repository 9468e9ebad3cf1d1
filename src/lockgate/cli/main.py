"""The `lockgate` program: puts the commands together. Zones are imported by the commands that need them, so that --help is fast."""

from __future__ import annotations

from typing import Annotated

import typer

import lockgate
from lockgate.cli.commands import (
    audit,
    call,
    catalog,
    demo,
    doctor,
    image,
    operation,
    policy,
    serve,
    setup,
    state,
    target,
    token,
    why,
)
from lockgate.cli.frame import App


def _version(asked: bool) -> None:
    if asked:
        print(f"lockgate {lockgate.__version__}")
        raise typer.Exit


app = App("Lockgate: the least-privilege gateway between AI agents and infrastructure.")


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version, and nothing else.")
    ] = False,
) -> None:
    """Lockgate: the least-privilege gateway between AI agents and infrastructure."""


for module in (setup, demo, doctor, serve, image, call, why, target):
    module.register(app)
for name, group in (
    ("operation", operation.app),
    ("target", target.app),
    ("state", state.app),
    ("token", token.app),
    ("audit", audit.app),
    ("catalog", catalog.app),
    ("policy", policy.app),
):
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command line; ends the process with an exit code of `exits.Exit`."""
    app(prog_name="lockgate")
