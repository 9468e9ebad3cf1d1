"""Opens the decisions of a store for the commands that read them offline; it must not write to the store, nor ask a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.cli.exits import Exit
from lockgate.cli.frame import Session
from lockgate.cli.problem import Problem

if TYPE_CHECKING:
    from lockgate.gateway.operations.model import DecisionRecord
    from lockgate.gateway.store.port import Decisions, Store


@asynccontextmanager
async def opened(session: Session, store: Path | None) -> AsyncIterator[Store]:
    """A consistent copy of the named store, or of this home's own. Raises Problem, StoreError."""
    from lockgate.cli.home import gateway_settings
    from lockgate.cli.storecopy import copied_store

    place = store or gateway_settings(session.home).store
    if not place.exists():
        raise Problem(
            Exit.NOT_FOUND, f"{place}: there is no store", fix="start the gateway once, or name a copy with --store"
        )
    async with copied_store(place, still=store is not None) as copy:
        yield copy


def selection(*, since: str | None, operation: str | None = None, newest: bool = False) -> Decisions:
    """The decisions of that time (`7d`; None: all there are), in the order of their time. Raises Problem."""
    from lockgate.cli.home import now_ms
    from lockgate.cli.since import seconds_of
    from lockgate.gateway.store.port import Decisions

    begin = 0 if since is None else now_ms() - seconds_of(since) * 1000
    return Decisions(since=begin, operation=operation, newest=newest)


async def named(store: Store, name: str) -> DecisionRecord:
    """A decision by its id, or the last one of an operation by the operation's. Raises Problem."""
    from lockgate.gateway.store.port import DecisionsOf, GetDecision

    if name.startswith("op_"):
        found = await store.read(DecisionsOf(name))
        deciding = [record for record in found if record.question not in ("view", "approve", "cancel", "resolve")]
        if deciding:
            return deciding[-1]
        raise Problem(
            Exit.NOT_FOUND,
            f"no decision about {name[:64]} is kept",
            fix="lockgate operation list, or `records.record_days` in gateway.yaml says how long they are",
        )
    record = await store.read(GetDecision(name))
    if record is None:
        raise Problem(
            Exit.NOT_FOUND, f"no decision {name[:64]!r} is kept", fix="lockgate policy decisions list --since 30d"
        )
    return record
