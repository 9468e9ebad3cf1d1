"""`lockgate target`, `freeze` and `unfreeze`: targets with their locks, and the kill switch, over REST."""

from __future__ import annotations

from typing import Annotated

import typer

from lockgate.cli.frame import App, Session

app = App("Targets and their locks.")
Reason = Annotated[str, typer.Option(help="Why; it goes into the audit log (at least 8 characters).")]
Scope = Annotated[str, typer.Argument(help="`*` for everything, tenant:NAME or target:NAME.")]


def register(root: App) -> None:
    """Add freeze and unfreeze to the program itself."""
    root.add("freeze", speaks=True)(freeze)
    root.add("unfreeze", speaks=True)(unfreeze)


@app.add("list", speaks=True)
def list_targets(session: Session) -> None:
    """Targets of the catalog, and who holds their locks."""
    from lockgate.cli.client import people

    found = people(session).get("/targets")

    def render(out: object) -> None:
        from rich.table import Table

        table = Table("target", "driver", "environment", "region", "labels", "lock", box=None)
        for item in found["targets"]:
            labels = " ".join(f"{key}={value}" for key, value in sorted(item["labels"].items()))
            lock = item["lock_state"] + (f" by {item['held_by']}" if item["held_by"] else "")
            table.add_row(item["name"], item["driver"], item["environment"], item["region"], labels, lock)
        session.screen.out.print(table)

    session.screen.answer(found, render)


@app.add("unlock", speaks=True)
def unlock_target(session: Session, target: Annotated[str, typer.Argument(help="The target.")], reason: Reason) -> None:
    """Open a quarantined lock: your word that nothing is still writing to the target."""
    from lockgate.cli.client import people

    lock = people(session).post(f"/targets/{target}/unlock", {"reason": reason})
    session.screen.answer(lock, lambda out: out.print(f"lock {lock['name']} is {lock['state']}", markup=False))


def freeze(session: Session, scope: Scope, reason: Reason) -> None:
    """Stop changes: nothing in this scope starts until it is lifted; what waits goes on by itself then."""
    _freeze(session, scope, True, reason)


def unfreeze(session: Session, scope: Scope, reason: Reason) -> None:
    """Lift a freeze."""
    _freeze(session, scope, False, reason)


def _freeze(session: Session, scope: str, frozen: bool, reason: str) -> None:
    from lockgate.cli.client import people

    people(session).post("/freezes", {"scope": scope, "frozen": frozen, "reason": reason})
    document = {"scope": scope, "frozen": frozen}
    session.screen.answer(
        document, lambda out: out.print(f"{scope}: {'frozen' if frozen else 'not frozen'}", markup=False)
    )
