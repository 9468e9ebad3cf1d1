"""`lockgate state list|accept|discard`: the states this machine's runner keeps, and a human's word on one it could not take. No state is shown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockgate.cli.frame import App, Session

if TYPE_CHECKING:
    from lockgate.runner.keeping.states import StateKeeper
    from lockgate.runner.settings import RunnerSettings

app = App("States that this machine's runner keeps for its targets.")
Target = Annotated[str, typer.Argument(help="The target.")]


@app.add("list")
def list_states(session: Session) -> None:
    """The newest version of every kept state by lineage and serial, and what stands in the way of the next apply."""
    from lockgate.runner.keeping.handing import at_home
    from lockgate.runner.keeping.states import StateRefused

    keeper, settings = _keeper(session)
    found: list[dict[str, Any]] = []
    for name in sorted(name for name, target in settings.targets.items() if target.keeps_state):
        row: dict[str, Any] = {"target": name, "version": None, "lineage": None, "serial": None, "trouble": None}
        try:
            kept = at_home(keeper, settings.tenant, name)
        except StateRefused as error:
            row["trouble"] = str(error)
        else:
            if kept is not None:
                row |= {"version": kept.version, "lineage": kept.mark.lineage, "serial": kept.mark.serial}
        found.append(row)

    def render(out: Any) -> None:
        for row in found:
            said = row["trouble"] or (
                f"serial {row['serial']} of {row['lineage']}" if row["serial"] is not None else "none yet"
            )
            out.print(f"{row['target']}: {said}", markup=False)

    session.screen.answer({"states": found}, render)


@app.add("accept")
def accept_state(session: Session, target: Target) -> None:
    """Take what the last apply left and the runner set aside as the state from now on: your word that it is the true one."""
    _decide(session, target, accept=True)


@app.add("discard")
def discard_state(session: Session, target: Target) -> None:
    """Throw away what the runner set aside: your word that the version before it is the true one."""
    _decide(session, target, accept=False)


def _decide(session: Session, target: str, *, accept: bool) -> None:
    from lockgate.cli.frame import bad_input
    from lockgate.runner.keeping.states import StateRefused

    keeper, settings = _keeper(session)
    try:
        mark = keeper.decide(settings.tenant, target, accept)
    except StateRefused as error:
        raise bad_input("target", str(error), "lockgate state list") from None
    document = {"target": target, "lineage": mark.lineage if mark else None, "serial": mark.serial if mark else None}
    said = f"serial {mark.serial} of {mark.lineage}" if mark else "none yet"
    session.screen.answer(document, lambda out: out.print(f"{target}: {said}", markup=False))


def _keeper(session: Session) -> tuple[StateKeeper, RunnerSettings]:
    from lockgate.cli.home import runner_settings
    from lockgate.runner.app import region_secret
    from lockgate.runner.keeping.states import StateKeeper

    settings = runner_settings(session.home)
    secret = region_secret(settings.keys.region, dev=settings.dev)
    return StateKeeper(settings.state_dir / "states", secret, os.urandom), settings
