"""`lockgate init` and `lockgate dev`: make a deployment; run one on a laptop. Neither overwrites a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session
from lockgate.cli.problem import Problem

if TYPE_CHECKING:
    from lockgate.cli.bootstrap import Layout, Ports
    from lockgate.cli.dev import Running

PUBLIC_PORT, RUNNER_PORT = 8400, 8401
SAME_USER = (
    "A laptop is no boundary: an agent that runs under your own OS user can read these keys and bypass Lockgate. "
    "Run agents under another user or in a container that reaches only the gateway's port; `lockgate doctor` says how."
)
Port = Annotated[
    int | None, typer.Option("--port", help=f"Port for agents and people; default {PUBLIC_PORT}.", show_default=False)
]
RunnerPort = Annotated[
    int | None, typer.Option("--runner-port", help=f"Port for runners; default {RUNNER_PORT}.", show_default=False)
]


def register(app: App) -> None:
    """Add the commands."""
    app.add("init")(init)
    app.add("dev")(dev)


def init(
    session: Session,
    name: Annotated[
        str, typer.Option(help="The deployment's name; it stands in every key, grant and token.")
    ] = "lockgate",
    port: Port = None,
    runner_port: RunnerPort = None,
) -> None:
    """Make keys, keyset, certificates, settings, a sample catalog and policy data; keeps whatever is there already."""
    from lockgate.cli.bootstrap import Ports
    from lockgate.cli.deployment import Deployment, make_deployment

    ports = Ports(port or PUBLIC_PORT, runner_port or RUNNER_PORT)
    made = make_deployment(session.home, Deployment(name, dev=False, ports=ports))
    document = {
        "home": str(made.home),
        "created": [str(path) for path in made.created],
        "kept": [str(path) for path in made.kept],
        "next": [*made.advice, *next_steps(made)],
    }

    def render(out: object) -> None:
        print(f"{len(made.created)} files made, {len(made.kept)} kept in {made.home}")
        for number, line in enumerate(document["next"], start=1):
            print(f"{number}. {line}")

    session.screen.answer(document, render)


def next_steps(made: Layout) -> tuple[str, ...]:
    """What a person does after `init`."""
    from lockgate.cli.bootstrap.layout import RELEASE

    return (
        f"Say what can be changed: edit {made.catalog}, then: lockgate catalog check",
        f"Say who may do what: edit {made.policy_data / 'data.yaml'}, then: lockgate policy check && lockgate policy build --output policy.tar.gz",
        f"Release it: lockgate policy bundle sign policy.tar.gz --key {made.release_key} --key-id {RELEASE} --output {made.policy_bundle}",
        f"Say what the runner serves, at most: `targets` and `tools` in {made.runner_settings}",
        "lockgate doctor, then start `lockgate gateway` and `lockgate runner`, each under a user of its own",
    )


def dev(
    session: Session,
    port: Port = None,
    runner_port: RunnerPort = None,
    unsafe_no_sandbox: Annotated[
        bool,
        typer.Option("--unsafe-no-sandbox", help="Run jobs without a sandbox. Never with anything you care about."),
    ] = False,
    opa: Annotated[
        bool,
        typer.Option(
            "--opa/--no-opa",
            help="Have the `opa` that LOCKGATE_OPA or PATH names decide, as a child; else the embedded engine does.",
        ),
    ] = True,
) -> Exit:
    """Run everything on this machine: a throw-away deployment, its gateway and its runner; Ctrl-C stops both."""
    from lockgate.cli.dev import running
    from lockgate.cli.issuing import issue_dev_tokens

    made = _dev_deployment(session, _ports(session.home, port, runner_port), unsafe_no_sandbox)
    with running(made.home, session.screen, opa=opa) as both:
        tokens = issue_dev_tokens(made.home)
        _show_dev(session, made, tokens, both)
        ended = both.wait()
        if ended is not None:
            raise ended.failed(f"ended by itself with exit code {ended.process.returncode}")
        session.screen.note("stopping: what runs is finished first")
        both.stop()
    return Exit.OK


def _ports(home: Path, port: int | None, runner_port: int | None) -> Ports | None:
    """The ports asked for; those not asked for stay as they are. None: nothing was asked for on a home that exists."""
    from lockgate.cli.bootstrap import Ports
    from lockgate.cli.home import gateway_settings

    if not (home / "gateway.yaml").exists():
        return Ports(port or PUBLIC_PORT, runner_port or RUNNER_PORT)
    if port is None and runner_port is None:
        return None
    settings = gateway_settings(home)
    return Ports(port or settings.public.port, runner_port or settings.runners.port)


def _dev_deployment(session: Session, ports: Ports | None, no_sandbox: bool) -> Layout:
    from lockgate.cli.deployment import Deployment, make_deployment
    from lockgate.cli.dev import busy, port_free
    from lockgate.cli.home import gateway_settings, runner_settings
    from lockgate.cli.ports import set_ports

    home = session.home
    if ports is not None:
        for flag, field, number in (
            ("--port", "public.port", ports.public),
            ("--runner-port", "runners.port", ports.runners),
        ):
            if not port_free("127.0.0.1", number):
                raise busy(flag, field, "127.0.0.1", number)
    there = (home / "gateway.yaml").exists()
    if there and not gateway_settings(home).dev:
        raise Problem(Exit.USAGE, f"{home} is a production deployment", fix="lockgate dev --home ANOTHER_DIRECTORY")
    name = gateway_settings(home).deployment if there else "dev"
    made = make_deployment(home, Deployment(name, dev=True, ports=ports, no_sandbox=no_sandbox))
    if there and ports is not None:
        set_ports(made.home, ports)
    unsafe = runner_settings(home).sandbox.provider == "unsafe-no-sandbox"
    if unsafe != no_sandbox:
        how = "was made with" if unsafe else "was made without"
        fix = (
            "repeat the flag, or use another --home"
            if unsafe
            else "lockgate dev --unsafe-no-sandbox --home ANOTHER_DIRECTORY"
        )
        raise Problem(Exit.USAGE, f"{home} {how} --unsafe-no-sandbox", fix=fix)
    session.screen.unsafe = gateway_settings(home).unsafe_flags
    return made


def _show_dev(session: Session, made: Layout, tokens: dict[str, Path], both: Running) -> None:
    from lockgate.cli.home import gateway_settings

    url = gateway_settings(made.home).public.url
    flag = f" --home {made.home}" if session.home != Path.home() / ".lockgate" else ""
    tries = (
        f"lockgate call{flag}",
        f"lockgate call set_motd --target motd-staging --arg message='Hello' --reason 'say hello'{flag}",
        f"lockgate call remove_motd --target motd-staging --reason 'clean up the motd'{flag}",
        f"lockgate operation list{flag}",
        f"lockgate operation approve OPERATION --as bob{flag}",
        f"lockgate audit verify{flag}",
    )
    document = {
        "ready": True,
        "url": url,
        "mcp": f"{url}/mcp",
        "home": str(made.home),
        "tokens": {name: str(path) for name, path in sorted(tokens.items())},
        "logs": [str(both.gateway.log), str(both.runner.log)],
        "warnings": [SAME_USER],
        "try": list(tries),
    }

    def render(out: object) -> None:
        print(f"\nLockgate is running (dev, throw-away keys): agents use {url}/mcp with the token in {tokens['agent']}")
        print(
            f"People: alice asks and owns the agent, bob approves, admin administers: --as NAME. Logs: {made.home / 'logs'}"
        )
        print(f"\n{SAME_USER}\n\nIn another terminal try:")
        for line in tries:
            print(f"  {line}")
        print("\nCtrl-C stops it.", flush=True)

    session.screen.answer(document, render)
