"""Operations as a table, a line and a page. Whatever an agent or a tool wrote is shown quoted, with invisible characters made visible."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from lockgate.contract.shown import flat, quoted

STYLES = {
    "succeeded": "green",
    "planned": "green",
    "pending_approval": "yellow",
    "indeterminate": "bold red",
    "denied": "red",
    "failed": "red",
    "expired": "red",
    "cancelled": "dim",
}


def when(ms: int) -> str:
    """Unix ms as UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def name_of(principal: str | None) -> str:
    """Who, by the whole name after the issuer: a subject may hold a `#` too, and must not pass for what follows it."""
    return flat((principal or "#lockgate").partition("#")[2], limit=60)


def place(operation: dict[str, Any]) -> str:
    """State, phase and what it waits for."""
    text = str(operation["status"])
    if operation["phase"]:
        text += f"({operation['phase']})"
    if operation["waiting_for"]:
        text += f", waiting for {operation['waiting_for']}"
    return text


def one_line(operation: dict[str, Any]) -> str:
    """One operation on one line."""
    said = f": {flat(operation['message'], limit=300)}" if operation["message"] else ""
    effect = f" (effect {operation['effect']})" if operation["effect"] else ""
    return f"{operation['id']} {operation['action']} on {operation['target']}: {place(operation)}{effect}{said}"


def operations_table(operations: Iterable[dict[str, Any]]) -> Table:
    """Many operations."""
    table = Table("operation", "state", "action", "target", "asked by", "created (UTC)", box=None)
    for item in operations:
        state = Text(place(item), style=STYLES.get(item["status"], ""))
        who = Text(flat(item["principal"]["subject"], limit=60))
        table.add_row(item["id"], state, item["action"], item["target"], who, when(item["created_at"]))
    return table


def operation_text(details: dict[str, Any]) -> Group:
    """One operation with everything recorded about it."""
    from lockgate.cli.show.plans import plan_text
    from lockgate.cli.show.timeline import receipts_text, timeline_table

    operation = details["operation"]
    parts: list[Any] = [Text(one_line(operation), style=STYLES.get(operation["status"], "")), facts(operation)]
    parts += deceptive(operation)
    if operation["reasons"]:
        parts.append(
            Text(
                "\n".join(
                    f"rule {item['rule']}: {flat(item['message'])} Fix: {flat(item['fix'])}"
                    for item in operation["reasons"]
                )
            )
        )
    if operation["plan"] is not None:
        parts += [Text(), plan_text(details)]
    parts += [Text(), timeline_table(details)]
    receipts = receipts_text(details)
    return Group(*parts, *([Text(), receipts] if receipts.plain else []))


def facts(operation: dict[str, Any]) -> Text:
    """Who asked for what, in the agent's quoted words."""
    principal = operation["principal"]
    behind = principal.get("on_behalf_of") or principal.get("owner")
    lines = [
        f"asked by  {flat(principal['issuer'])}#{flat(principal['subject'])}"
        + (f" for {flat(behind)}" if behind else ""),
        f"reason    {quoted(str(operation['intent'].get('reason', '')))} (the agent's words)",
    ]
    for name, value in sorted(operation["intent"].get("arguments", {}).items()):
        lines.append(f"argument  {flat(name)} = {quoted(value) if isinstance(value, str) else flat(str(value))}")
    return Text("\n".join(lines))


def deceptive(document: dict[str, Any]) -> list[Text]:
    """What may deceive the eye in an operation or a plan, as the gateway found it; each on a line that stands out."""
    return [
        Text(f"! look twice: {flat(notice, limit=300)}", style="bold red") for notice in document.get("notices", ())
    ]
