"""An operation's explanation as a person reads it: where it stands, why, what is awaited, what to do, and the story. It must not leave a rule out."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from lockgate.cli.show.operations import STYLES, name_of, when
from lockgate.contract.shown import flat


def explanation_text(found: dict[str, Any]) -> Group:
    """One page; whatever a tool, an agent or a person wrote is shown with invisible characters made visible."""
    head = f"{found['operation_id']} {found['action']} on {found['target']}: {found['status']}"
    effect = f" (effect {found['effect']})" if found["effect"] else ""
    parts: list[Any] = [Text(head + effect, style=STYLES.get(found["status"], "")), Text(flat(found["message"]))]
    for item in found["rules"]:
        grave = f" ({flat(item['severity'])})" if item.get("severity") else ""
        parts.append(Text(f"rule {item['rule']}{grave}: {flat(item['message'])} Fix: {flat(item['fix'])}"))
        parts += [Text(f"why        {flat(item['why'])}")] if item.get("why") else []
    parts += [Text(f"waits for  {flat(item)}") for item in found["awaited"]]
    retry = found["retry"]
    after = f" after {retry['after_seconds']} s" if retry["after_seconds"] else ""
    parts.append(Text(f"again      {'yes' + after if retry['helps'] else 'no'}: {retry['how']}"))
    parts += [Text(f"do         {flat(command)}") for command in found["commands"]]
    return Group(*parts, Text(), story_table(found["story"]))


def story_table(story: list[dict[str, Any]]) -> Table:
    """What happened, oldest first."""
    table = Table("time (UTC)", "what happened", "who", box=None)
    for moment in story:
        table.add_row(when(moment["at"]), Text(flat(moment["said"], limit=500)), Text(name_of(moment.get("who"))))
    return table
