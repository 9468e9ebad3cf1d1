"""The `lockgate` program: puts the commands together. Zones are imported by the commands that need them, so that --help is fast."""

from __future__ import annotations

from lockgate.cli.commands import call, operation, serve, setup, token
from lockgate.cli.frame import App

app = App("Lockgate: the least-privilege gateway between AI agents and infrastructure.")
for module in (setup, serve, call):
    module.register(app)
for name, group in (("operation", operation.app), ("token", token.app)):
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command line; ends the process with an exit code of `exits.Exit`."""
    app(prog_name="lockgate")
