"""`lockgate audit`: one operation's timeline; offline verification; export. It must never write to a store."""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockgate.cli.exits import Exit
from lockgate.cli.frame import App, Session
from lockgate.cli.problem import Problem

if TYPE_CHECKING:
    from lockgate.gateway.audit.report import AuditReport

app = App("Look at the audit log, verify it offline, export it.")
MAX_KEPT = 1 << 20


@app.add("show", speaks=True)
def show_audit(
    session: Session,
    operation: Annotated[
        str | None, typer.Argument(help="An operation: its timeline and receipts.", show_default=False)
    ] = None,
    since: Annotated[int, typer.Option(help="Without an operation: from this entry on.")] = 0,
    limit: Annotated[int, typer.Option(help="Without an operation: at most so many, 1 to 500.")] = 50,
) -> None:
    """Who did what when, and by which rules. Reading is an entry too."""
    from lockgate.cli.client import people
    from lockgate.cli.show.timeline import receipts_text, timeline_table

    if operation is None:
        found = people(session).get("/audit", since=since, limit=limit)
        session.screen.answer(found, lambda out: out.print(timeline_table(found)))
        return
    details = people(session).get(f"/operations/{operation}/details")
    document = {
        "operation": operation,
        "entries": details["entries"],
        "decisions": details["decisions"],
        "receipts": [item["payload"] for item in details["envelopes"] if item["kind"] == "receipt"],
    }

    def render(out: Any) -> None:
        out.print(timeline_table(details))
        out.print(receipts_text(details))

    session.screen.answer(document, render)


@app.add("verify")
def verify_audit(
    session: Session,
    file: Annotated[
        Path | None,
        typer.Argument(help="A copy of a store, or an export; default: this home's own store.", show_default=False),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="The pinned root key; default: this home's.", show_default=False)
    ] = None,
    keyset: Annotated[
        list[Path] | None,
        typer.Option(help="A keyset of that root; default: this home's. May stand several times.", show_default=False),
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint you kept yourself. May stand several times.", show_default=False),
    ] = None,
) -> Exit:
    """Recompute the whole log offline and hold it against every signed claim. It asks no gateway."""
    from lockgate.cli.bootstrap import Layout
    from lockgate.cli.storecopy import copied_file
    from lockgate.gateway.audit.sources import Trust, verify_file
    from lockgate.keys.signer import read_public_key

    layout = Layout(session.home, session.home)
    place = file or _own_store(session.home)
    pinned = root or layout.root_public
    if not pinned.exists():
        raise Problem(
            Exit.USAGE, f"{pinned}: there is no root key to verify by", fix="name the deployment's root.pub with --root"
        )
    keysets = keyset if keyset is not None else [path for path in (layout.keyset,) if path.exists()]
    trust = Trust(read_public_key(pinned), tuple(map(_read, keysets)), tuple(map(_read, checkpoint or [])))
    with nullcontext(place) if file is not None else copied_file(place) as path:
        report = verify_file(path, trust)
    session.screen.answer(report_document(place, report), lambda out: _show(place, report))
    return Exit.OK if report.ok else Exit.FAILED


@app.add("export")
def export_audit(
    session: Session,
    output: Annotated[Path, typer.Argument(help="The file to make; it must not exist.")],
) -> None:
    """Write the whole log of this home with its signed evidence into one file that `audit verify` reads anywhere."""
    settings = _settings(session.home)
    size = asyncio.run(_export(settings.store, settings.keys.keyset, output))
    document = {"file": str(output), "bytes": size}
    session.screen.answer(
        document, lambda out: print(f"{output}: {size} bytes; verify it with: lockgate audit verify {output}")
    )


def _settings(home: Path) -> Any:
    from lockgate.cli.home import gateway_settings

    return gateway_settings(home)


def _own_store(home: Path) -> Path:
    path = Path(_settings(home).store)
    if not path.exists():
        raise Problem(Exit.NOT_FOUND, f"{path}: there is no store yet", fix="start the gateway once, or name a file")
    return path


async def _export(store: Path, keyset: Path, output: Path) -> int:
    from lockgate.cli.storecopy import copied_store
    from lockgate.gateway.audit.export import export

    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        async with copied_store(store) as copy:
            async for line in export(copy, keysets=(_read(keyset),)):
                file.write(line)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def report_document(place: Path, report: AuditReport) -> dict[str, Any]:
    """A verification's findings as a stable document."""
    return {
        "file": str(place),
        "ok": report.ok,
        "proven": report.proven,
        "verdict": report.verdict,
        "size": report.size,
        "proven_size": report.proven_size,
        "root": "sha256:" + report.root.hex() if report.root else None,
        "checkpoints": report.checkpoints,
        "witnesses": report.witnesses,
        "fault_count": report.fault_count,
        "faults": [{"kind": fault.kind.value, "seq": fault.seq, "message": fault.message} for fault in report.faults],
    }


def _show(place: Path, report: AuditReport) -> None:
    print(f"{place}: {report.verdict}")
    for fault in report.faults:
        print(f"  {fault.kind.value}: {fault.message}")
    if report.ok:
        print(f"  {report.witnesses} signed witnesses by runners and {report.checkpoints} checkpoints agree")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_KEPT)
