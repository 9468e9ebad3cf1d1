"""`lockgate gateway` and `lockgate runner`: one server process each, in the foreground. They must not start one another."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from lockgate.cli.frame import App, Session
from lockgate.cli.home import gateway_settings, runner_settings

LogLevel = Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")]
OpaFolder = Annotated[Path | None, typer.Option("--opa-folder", hidden=True)]
UntilStdinCloses = Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)]


def register(app: App) -> None:
    """Add the commands."""
    app.add("gateway")(gateway)
    app.add("runner")(runner)
    app.add("opa", hidden=True)(opa)


def gateway(
    session: Session,
    log_level: LogLevel = "info",
    until_stdin_closes: UntilStdinCloses = False,
    opa_folder: OpaFolder = None,
) -> None:
    """Run the gateway of this home in the foreground; SIGTERM or Ctrl-C stops it."""
    from lockgate.cli.logs import set_up_logs
    from lockgate.cli.serving import run_server
    from lockgate.gateway.app import serve

    settings = gateway_settings(session.home)
    if opa_folder is not None:
        from lockgate.cli.opachild import beside

        settings = beside(settings, opa_folder)
    set_up_logs(log_level)
    run_server(functools.partial(serve, settings), until_stdin_closes=until_stdin_closes)


def runner(session: Session, log_level: LogLevel = "info", until_stdin_closes: UntilStdinCloses = False) -> None:
    """Run the runner of this home in the foreground; SIGTERM or Ctrl-C drains it: what runs is finished, nothing new is taken."""
    from lockgate.cli.logs import set_up_logs
    from lockgate.cli.serving import run_server
    from lockgate.runner.app import serve

    settings = runner_settings(session.home)
    set_up_logs(log_level)
    run_server(functools.partial(serve, settings), until_stdin_closes=until_stdin_closes)


def opa(session: Session, folder: Path, until_stdin_closes: UntilStdinCloses = False) -> None:
    """Run the `opa` beside the gateway of `lockgate dev`: it serves the bundle in a folder, on a socket there."""
    from lockgate.cli.opachild import serve_opa
    from lockgate.cli.serving import run_server
    from lockgate.policy.opa import find_opa

    run_server(functools.partial(serve_opa, find_opa(), folder), until_stdin_closes=until_stdin_closes)
