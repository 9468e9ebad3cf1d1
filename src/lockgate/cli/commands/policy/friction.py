"""`lockgate policy friction`: how much of what was asked was denied, by which rules, and what to do about it. It changes nothing."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lockgate.cli.frame import App, Session


class By(StrEnum):
    """What the report is broken down by."""

    RULE = "rule"
    ACTION = "action"
    AGENT = "agent"
    DAY = "day"


def register(app: App) -> None:
    """Add the command."""
    app.add("friction", speaks=True)(friction)


def friction(
    session: Session,
    store: Annotated[
        Path | None,
        typer.Option(help="A copy of a store, read offline; default: ask the gateway.", show_default=False),
    ] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back: 90m, 12h, 7d, 4w.")] = "7d",
    by: Annotated[By, typer.Option(help="What the table is by.")] = By.RULE,
    collapse: Annotated[
        bool, typer.Option("--collapse-retries", help="Whoever asks for the same again is counted once.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw it into this SVG file.", show_default=False)
    ] = None,
) -> None:
    """The share of denied requests, against the objective of under 2 %, and which rules deny most with what cures it."""
    from lockgate.cli.client import people
    from lockgate.cli.show.bars import draws_blocks
    from lockgate.cli.show.friction import friction_picture, friction_text
    from lockgate.cli.since import seconds_of

    seconds = seconds_of(since)
    if store is None:
        collapsed = "true" if collapse else None
        found = people(session).get("/policy/friction", window_seconds=seconds, collapse=collapsed)
    else:
        found = asyncio.run(_offline(session, store, seconds, collapse))
    if svg is not None:
        svg.write_text(friction_picture(found), "utf-8")
        session.screen.note(f"drawn into {svg}")
    blocks = draws_blocks(session.screen.out.encoding)
    session.screen.answer(found, lambda out: out.print(friction_text(found, by.value, blocks=blocks)))


async def _offline(session: Session, store: Path, seconds: int, collapse: bool) -> dict[str, Any]:
    from lockgate.cli.home import now_ms
    from lockgate.cli.records import opened
    from lockgate.gateway.friction import Window, measure

    now = now_ms()
    async with opened(session, store) as copy:
        return (await measure(copy, Window(now - seconds * 1000, now + 1, None, collapse))).document()
