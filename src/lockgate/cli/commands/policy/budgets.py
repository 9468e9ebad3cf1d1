"""`lockgate policy budgets`: who uses most of what policy allows within a time, now; over REST. It changes nothing."""

from __future__ import annotations

from typing import Any

from lockgate.cli.frame import App, Session


def register(app: App) -> None:
    """Add the command."""
    app.add("budgets", speaks=True)(budgets)


def budgets(session: Session) -> None:
    """The budgets of the policy in force, and who uses most of each of them now."""
    from lockgate.cli.client import people

    found = people(session).get("/policy/budgets")
    session.screen.answer(found, lambda out: out.print(_table(found["budgets"]) if found["budgets"] else _NONE))


def _table(declared: list[dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from lockgate.contract.shown import flat

    table = Table("budget", "counts", "in", "who", "used of", box=None)
    for budget in declared:
        what = f"{budget['counts']} per {budget['per']}"
        for user in budget["used"] or [{"who": "nobody", "used": 0}]:
            who, used = Text(flat(user["who"])), f"{user['used']} of {budget['limit']}"
            table.add_row(Text(flat(budget["name"])), what, f"{budget['window_seconds']} s", who, used)
    return table


_NONE = "the policy in force declares no budgets"
