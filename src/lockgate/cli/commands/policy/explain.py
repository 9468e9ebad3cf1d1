"""`lockgate policy explain`: why a recorded decision came out as it did, and what would make it pass. It changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from lockgate.cli.frame import App, Session


def register(app: App) -> None:
    """Add the command."""
    app.add("explain")(explain)


def explain(
    session: Session,
    decision: Annotated[
        str, typer.Argument(metavar="DECISION", help="A decision's id, or an operation's for its last.")
    ],
    store: Annotated[
        Path | None, typer.Option(help="A copy of a store; default: this home's own.", show_default=False)
    ] = None,
) -> None:
    """Which rule said no and why, which part of the input made it, and what would make it pass: by asking the policy that decided, offline."""
    from lockgate.cli.show.decisions import explained_text

    found = asyncio.run(_explained(session, store, decision))
    session.screen.answer(found, lambda out: out.print(explained_text(found)))


async def _explained(session: Session, place: Path | None, name: str) -> dict[str, Any]:
    from lockgate.cli.exits import Exit
    from lockgate.cli.problem import Problem
    from lockgate.cli.records import named, opened
    from lockgate.gateway.operations.inputs import InputDamaged
    from lockgate.gateway.operations.records import recorded
    from lockgate.gateway.replaying import Policies
    from lockgate.gateway.vouching import Log
    from lockgate.policy import explaining

    async with opened(session, place) as store:
        record = await named(store, name)
        if why := await Log(store).says(record):
            # Whoever changed a record may have changed what would be told of it.
            raise Problem(Exit.FAILED, f"the record of {record.id} was altered: {why}", fix="lockgate audit verify")
        try:
            was = recorded(record)
        except (InputDamaged, ValueError) as error:
            raise Problem(
                Exit.FAILED, f"the record of {record.id} is damaged: {error}", fix="lockgate audit verify"
            ) from None
        policies = Policies(store)
        try:
            engines = await policies.of(record.revision)
            engine = engines if isinstance(engines, str) else engines["embedded"]
            found = await explaining.explain(engine, was)
        finally:
            await policies.close()
    return {
        **found.document(),
        "at": record.at,
        "operation": record.operation,
        "hidden": list(record.hidden),
        "masked": list(record.masked),
    }
