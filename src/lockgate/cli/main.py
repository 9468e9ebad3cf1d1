"""The `lockgate` program: puts the commands together. Zones are imported by the commands that need them, so that --help is fast."""

from __future__ import annotations

from lockgate.cli.commands import audit, call, check, demo, doctor, operation, serve, setup, target, token
from lockgate.cli.frame import App

app = App("Lockgate: the least-privilege gateway between AI agents and infrastructure.")
for module in (setup, demo, doctor, serve, call, target):
    module.register(app)
for name, group in (
    ("operation", operation.app),
    ("target", target.app),
    ("token", token.app),
    ("audit", audit.app),
    ("catalog", check.catalog),
    ("policy", check.policy),
):
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command line; ends the process with an exit code of `exits.Exit`."""
    app(prog_name="lockgate")
