"""`lockgate policy decisions`: the records of what policy decided: a list, one of them, all of them as OPA's decision log. Read offline."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any, Protocol

import orjson
import typer

from lockgate.cli.frame import App, Session, bad_input

app = App("Read the records of what policy decided.")
MAX_LISTED = 1_000
StoreOption = Annotated[
    Path | None, typer.Option("--store", help="A copy of a store; default: this home's own.", show_default=False)
]


class BinaryWriter(Protocol):
    """What lines are written to."""

    def write(self, data: bytes, /) -> int: ...


class Format(StrEnum):
    """How decisions are written."""

    OPA = "opa"
    LOCKGATE = "lockgate"


def register(parent: App) -> None:
    """Add the commands as a group."""
    parent.add_typer(app, name="decisions")


@app.add("list")
def list_decisions(
    session: Session,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back: 90m, 12h, 7d, 4w.")] = "7d",
    operation: Annotated[
        str | None, typer.Option(metavar="OPERATION", help="Of one operation only.", show_default=False)
    ] = None,
    question: Annotated[
        list[str] | None, typer.Option(help="Of this question only; may stand several times.", show_default=False)
    ] = None,
    denied: Annotated[bool, typer.Option("--denied", help="Denials only.")] = False,
    limit: Annotated[int, typer.Option(help=f"At most so many, the newest; 1 to {MAX_LISTED}.")] = 50,
    store: StoreOption = None,
) -> None:
    """The newest decisions first: what was asked, what was answered, by which rules."""
    from lockgate.cli.show.decisions import decisions_text
    from lockgate.contract.decision import Question

    if not 1 <= limit <= MAX_LISTED:
        raise bad_input("limit", f"must be 1 to {MAX_LISTED}")
    known = [item.value for item in Question]
    if unknown := [name for name in question or [] if name not in known]:
        raise bad_input("question", f"{unknown[0][:40]!r} is none of {', '.join(known)}")
    wanted = _Wanted(since, operation, tuple(question or ()), False if denied else None)
    rows = asyncio.run(_listed(session, store, wanted, limit))
    session.screen.answer({"decisions": rows}, lambda out: out.print(decisions_text(rows)))


@app.add("show")
def show_decision(
    session: Session,
    decision: Annotated[
        str, typer.Argument(metavar="DECISION", help="A decision's id, or an operation's for its last.")
    ],
    store: StoreOption = None,
) -> None:
    """One decision whole: the answer, the policy and engine that gave it, and what it was told."""
    from lockgate.cli.show.decisions import record_text

    found = asyncio.run(_shown(session, store, decision))
    session.screen.answer(found, lambda out: out.print(record_text(found)))


@app.add("export")
def export_decisions(
    session: Session,
    output: Annotated[Path, typer.Argument(help="The file to make, which must not exist; `-`: stdout.")],
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Those since: 90m, 12h, 7d, 4w; default: all.", show_default=False),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="`opa`: OPA's decision log.")] = Format.OPA,
    compress: Annotated[bool, typer.Option("--gzip", help="Write it compressed.")] = False,
    store: StoreOption = None,
) -> None:
    """Write decisions as JSON lines, oldest first; secrets are out of them as they are out of the records."""
    count = asyncio.run(_exported(session, store, (since, form), output, compress))
    if str(output) == "-":
        session.screen.note(f"{count} decisions")
        return
    document = {"file": str(output), "decisions": count, "format": form.value}
    session.screen.answer(document, lambda out: print(f"{output}: {count} decisions"))


@dataclass(frozen=True)
class _Wanted:
    since: str
    operation: str | None
    questions: tuple[str, ...]
    allow: bool | None


async def _listed(session: Session, place: Path | None, wanted: _Wanted, limit: int) -> list[dict[str, Any]]:
    from lockgate.cli.records import opened, selection
    from lockgate.gateway.operations.records import record_document
    from lockgate.gateway.replaying import selected

    query = selection(since=wanted.since, operation=wanted.operation, newest=True)
    query = replace(query, questions=wanted.questions, allow=wanted.allow, inputs=False)
    rows: list[dict[str, Any]] = []
    async with opened(session, place) as store:
        async for record in selected(store, query):
            rows.append(record_document(record, inputs=False))
            if len(rows) >= limit:
                break
    return rows


async def _shown(session: Session, place: Path | None, name: str) -> dict[str, Any]:
    from lockgate.cli.records import named, opened
    from lockgate.gateway.operations.records import record_document

    async with opened(session, place) as store:
        return record_document(await named(store, name))


async def _exported(
    session: Session, place: Path | None, what: tuple[str | None, Format], output: Path, compress: bool
) -> int:
    from lockgate.cli.home import gateway_settings
    from lockgate.cli.records import opened, selection
    from lockgate.gateway.operations.decisionlog import opa_event
    from lockgate.gateway.operations.records import record_document
    from lockgate.gateway.replaying import selected

    since, form = what
    deployment = gateway_settings(session.home).deployment if place is None else "unknown"
    count = 0
    async with opened(session, place) as store:
        with _writing(output, compress) as file:
            async for record in selected(store, selection(since=since)):
                line = opa_event(record, deployment) if form is Format.OPA else record_document(record)
                file.write(orjson.dumps(line) + b"\n")
                count += 1
    return count


@contextmanager
def _writing(output: Path, compress: bool) -> Iterator[BinaryWriter]:
    """The new file, of mode 0600, or stdout; through gzip if wanted."""
    if str(output) == "-":
        yield from _through(sys.stdout.buffer, compress)
        return
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield from _through(file, compress)
        file.flush()
        os.fsync(file.fileno())


def _through(file: IO[bytes], compress: bool) -> Iterator[BinaryWriter]:
    if not compress:
        yield file
        return
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed:
        yield packed
