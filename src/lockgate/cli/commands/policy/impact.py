"""`lockgate policy impact`: which past requests another policy would have decided otherwise, before it is live. It reads a copy and writes nothing."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session
from lockgate.cli.problem import Problem

if TYPE_CHECKING:
    from lockgate.gateway.impact import Impact
    from lockgate.policy.port import PolicyEngine

PROGRESS_SECONDS: Final = 2.0


class FailOn(StrEnum):
    """What makes the exit code 1."""

    DENIED = "denied"
    ANY = "any"


def register(app: App) -> None:
    """Add the command."""
    app.add("impact")(impact)


def impact(
    session: Session,
    bundle: Annotated[
        Path,
        typer.Option(metavar="NEW", help="The policy to try: a bundle, packed or not, or a data file for the library."),
    ],
    store: Annotated[
        Path | None, typer.Option(help="A copy of a store; default: this home's own, copied first.", show_default=False)
    ] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back: 90m, 12h, 7d, 4w.")] = "7d",
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="Exit code 1 if something would be newly denied, or any different.", show_default=False),
    ] = None,
    all_questions: Annotated[
        bool, typer.Option("--all-questions", help="Also what people asked: approve, view, cancel, resolve, admin.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw it into this SVG file.", show_default=False)
    ] = None,
) -> Exit:
    """Decide recorded decisions again under another policy, on their recorded inputs, and say which would be otherwise."""
    from lockgate.cli.show.bars import draws_blocks
    from lockgate.cli.show.impact import impact_picture, impact_text
    from lockgate.cli.since import seconds_of

    seconds = seconds_of(since)
    measured = asyncio.run(_measure(session, store, bundle, seconds, all_questions))
    if measured.judged == 0:
        raise Problem(
            Exit.NOT_FOUND,
            f"no decision of the last {since} is recorded",
            field="since",
            fix="look back further, or name another store",
        )
    found = measured.document()
    if svg is not None:
        svg.write_text(impact_picture(found), "utf-8")
        session.screen.note(f"drawn into {svg}")
    blocks = draws_blocks(session.screen.out.encoding)
    session.screen.answer(found, lambda out: out.print(impact_text(found, blocks=blocks)))
    return _exit(measured, fail_on)


def _exit(measured: Impact, fail_on: FailOn | None) -> Exit:
    """Where nothing could be judged, nothing was shown to be harmless."""
    if fail_on is None:
        return Exit.OK
    bad = measured.denies if fail_on is FailOn.DENIED else measured.differs
    return Exit.FAILED if bad or measured.known == 0 else Exit.OK


async def _measure(session: Session, store: Path | None, bundle: Path, seconds: int, all_questions: bool) -> Impact:
    from lockgate.cli.home import now_ms
    from lockgate.cli.records import opened
    from lockgate.contract.decision import Question
    from lockgate.gateway.impact import REQUESTS, Span, measure

    engine = await _engine(bundle)
    now = now_ms()
    questions = tuple(Question) if all_questions else REQUESTS
    try:
        async with opened(session, store) as copy:
            return await measure(copy, engine, Span(now - seconds * 1000, now + 1, questions), _told(session))
    finally:
        await engine.close()


async def _engine(bundle: Path) -> PolicyEngine:
    """The policy to try, with time enough: nobody waits for its answers. Raises PolicyLoadError, SourceUnavailable."""
    from lockgate.policy.embedded import complete_engine
    from lockgate.policy.replay import UNHURRIED
    from lockgate.policy.sources.named import named_source, unsigned_bundle

    fetched = await named_source(bundle).look()
    if fetched is None:
        raise Problem(Exit.UNAVAILABLE, f"{bundle}: nothing could be read", field="bundle")
    return await asyncio.to_thread(lambda: complete_engine(unsigned_bundle(fetched), UNHURRIED))


def _told(session: Session) -> Any:
    """Says how far it is, every few seconds."""
    last = time.monotonic()

    def progress(judged: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            session.screen.note(f"{judged} decisions judged")

    return progress
