"""`lockgate demo`: plays the demo's scenes on a throw-away deployment and says whether all went as it must."""

from __future__ import annotations

import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session

if TYPE_CHECKING:
    from lockgate.cli.demo.stage import Stage
    from lockgate.cli.demo.telling import Telling


def register(app: App) -> None:
    """Add the command."""
    app.add("demo")(demo)


def demo(
    session: Session,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running afterwards and print commands to try.")
    ] = False,
) -> Exit:
    """Show the main job end to end, in about a minute: real gateway, runner, sandboxes and Ansible; everything is thrown away afterwards."""
    from lockgate.cli.demo.scenes import SCENES
    from lockgate.cli.demo.stage import stage, throw_away_home
    from lockgate.cli.demo.telling import Telling

    _require()
    signal.signal(signal.SIGTERM, _interrupt)
    tell, home = Telling(session.screen), throw_away_home()
    try:
        session.screen.note(
            f"a throw-away deployment in {home}: keys, catalog, policy, gateway, runner (first start takes some seconds)"
        )
        with stage(home, tell) as play:
            for title, scene in SCENES:
                with tell.scene(title):
                    scene(play)
            _sum_up(tell, play, keep)
            if keep:
                _keep(session, play)
    finally:
        _throw_away(home)
    return Exit.FAILED if tell.failed else Exit.OK


def _require() -> None:
    """What the demo cannot do without, said before anything is made. Raises Problem."""
    import sys

    from lockgate.cli.problem import Problem
    from lockgate.runner.app import installed_tools

    if sys.platform != "linux":
        raise Problem(
            Exit.UNAVAILABLE,
            f"sandboxes need Linux, this is {sys.platform}",
            fix="run it in a Linux virtual machine or WSL2",
        )
    if "ansible" not in installed_tools():
        raise Problem(Exit.UNAVAILABLE, "ansible-core is not installed", fix="pip install 'lockgate[ansible]'")
    if shutil.which("bwrap") is None:
        raise Problem(Exit.UNAVAILABLE, "bubblewrap is not installed", fix="apt-get install bubblewrap")


def _sum_up(tell: Telling, play: Stage, keep: bool) -> None:
    from lockgate.cli.commands.setup import SAME_USER

    checks = [check for scene in tell.scenes for check in scene["checks"]]
    bad = [check["what"] for check in checks if not check["held"]]
    document = {"ok": not bad, "scenes": tell.scenes, "home": str(play.home), "url": play.url}
    document |= {"try": list(_tries(play))} if keep else {}

    def render(out: Any) -> None:
        print(f"\n{len(checks) - len(bad)} of {len(checks)} expectations held.")
        for what in bad:
            print(f"  NOT: {what}")
        print(f"\n{SAME_USER}")

    tell.screen.answer(document, render)


def _keep(session: Session, play: Stage) -> None:
    session.screen.note("\nIt keeps running; Ctrl-C throws it away. In another terminal try:")
    for line in _tries(play):
        session.screen.note(f"  {line}")
    play.both.wait()


def _tries(play: Stage) -> tuple[str, ...]:
    home = f"--home {play.home}"
    return (
        f"lockgate call {home}",
        f"lockgate call set_motd --target motd-production --arg message='Hello' --reason 'say hello' {home}",
        f"lockgate operation list {home}",
        f"lockgate operation approve OPERATION --as bob {home}",
        f"lockgate audit verify {home}",
    )


def _throw_away(home: Path) -> None:
    from lockgate.cli.bootstrap import sandbox_base
    from lockgate.cli.deployment import targets_place

    if home.exists():
        for path in (sandbox_base(home), targets_place(home)):
            shutil.rmtree(path, ignore_errors=True)
            if not path.is_relative_to(home):
                with suppress(OSError):
                    path.parent.rmdir()
    shutil.rmtree(home.parent, ignore_errors=True)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
