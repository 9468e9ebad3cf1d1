"""`lockgate policy replay`: recorded decisions made again on their recorded input, compared to the byte. It changes nothing."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session, bad_input

if TYPE_CHECKING:
    from lockgate.gateway.replaying import Again
    from lockgate.gateway.store.port import Store

MAX_TOLD: Final = 1_000
"""At most so many decisions that are not the same are told one by one; all are counted."""


class Engines(StrEnum):
    """Which engines decide again."""

    EMBEDDED = "embedded"
    OPA = "opa"
    BOTH = "both"


def register(app: App) -> None:
    """Add the command."""
    app.add("replay")(replay)


def replay(
    session: Session,
    decisions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DECISION]...", help="Ids of decisions, or of operations for their last.", show_default=False
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Those since: 90m, 12h, 7d, 4w.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are kept.")] = False,
    store: Annotated[
        Path | None, typer.Option(help="A copy of a store; default: this home's own.", show_default=False)
    ] = None,
    engine: Annotated[Engines, typer.Option(help="Which engine decides again; opa needs the program.")] = (
        Engines.EMBEDDED
    ),
) -> Exit:
    """Make recorded decisions again, offline, under the policy that decided then: each must be the one in the audit log and give the same answer, byte for byte."""
    if sum((bool(decisions), since is not None, every)) != 1:
        raise bad_input("decisions", "name decisions, or --since, or --all: one of them", fix="--since 7d")
    from lockgate.cli.show.decisions import replay_text

    found = asyncio.run(_replayed(session, store, decisions or [], since, engine))
    session.screen.answer(found, lambda out: out.print(replay_text(found)))
    return Exit.FAILED if any(found[verdict] for verdict in ("different", "damaged", "altered")) else Exit.OK


async def _replayed(
    session: Session, place: Path | None, names: list[str], since: str | None, engine: Engines
) -> dict[str, Any]:
    from lockgate.cli.records import named, opened, selection
    from lockgate.gateway.replaying import Policies, again, selected
    from lockgate.gateway.vouching import Log

    counts: Counter[str] = Counter()
    told: list[dict[str, Any]] = []

    def note(item: Again) -> None:
        counts[item.verdict.value] += 1
        if (names or item.verdict.value != "same") and len(told) < MAX_TOLD:
            told.append(item.document())

    async with AsyncExitStack() as stack:
        store: Store = await stack.enter_async_context(opened(session, place))
        policies, log = Policies(store, _makers(engine, stack)), Log(store)
        stack.push_async_callback(policies.close)
        for name in names:
            note(await again(policies, log, await named(store, name)))
        if not names:
            async for record in selected(store, selection(since=since)):
                note(await again(policies, log, record))
    total = sum(counts.values())
    by_verdict = {name: counts[name] for name in ("same", "different", "damaged", "altered", "unknown")}
    return {"replayed": total, **by_verdict, "decisions": told}


def _makers(engine: Engines, stack: AsyncExitStack) -> dict[str, Any]:
    """Raises OpaMissing."""
    from lockgate.cli.opareplays import OpaReplays
    from lockgate.gateway.replaying import embedded
    from lockgate.policy.opa import find_opa

    makers: dict[str, Any] = {}
    if engine is not Engines.OPA:
        makers["embedded"] = embedded
    if engine is not Engines.EMBEDDED:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lockgate-opa-")))
        servers = OpaReplays(find_opa(), folder)
        stack.callback(servers.close)
        makers["opa"] = servers.make
    return makers
