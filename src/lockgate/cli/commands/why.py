"""`lockgate why`: why an operation stands where it does, and what moves it on, in one page; over REST."""

from __future__ import annotations

from typing import Annotated

import typer

from lockgate.cli.frame import App, Session


def register(root: App) -> None:
    """Add the command to the program itself."""
    root.add("why", speaks=True)(why)


def why(
    session: Session, operation: Annotated[str, typer.Argument(metavar="OPERATION", help="An operation's id.")]
) -> None:
    """Why an operation stands where it does: what happened, by which rules, what it waits for, and the command that moves it on."""
    from lockgate.cli.client import people
    from lockgate.cli.show.explanations import explanation_text

    found = people(session).get(f"/operations/{operation}/explanation")
    session.screen.answer(found, lambda out: out.print(explanation_text(found)))
