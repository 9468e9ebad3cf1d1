"""What a shadow policy would change, as a person reads it: one sentence, a bar for each kind of difference, and the decisions to look at."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Group as Lines
from rich.table import Table
from rich.text import Text

from lockgate.cli.show.bars import bar
from lockgate.contract.shown import flat

MAX_ROWS: Final = 20
SAID: Final = {
    "would_deny": "would be denied",
    "would_allow": "would be allowed",
    "would_wait": "would wait",
    "approvals_added": "would need approval",
    "approvals_changed": "would need other approvals",
    "approvals_removed": "would need no approval",
    "other_obligations": "would carry other obligations",
    "other_rules": "would be stopped by other rules",
    "unknown": "could not be judged",
    "same": "would be the same",
}
"""A change of `lockgate.policy.comparison` in words."""


def shadow_text(found: dict[str, Any], *, blocks: bool) -> Lines:
    """The report of GET /policy/shadow."""
    parts: list[Any] = []
    if found["error"]:
        parts.append(Text(f"! {flat(found['error'], limit=500)}"))
    if not found["on"]:
        parts.append(Text("no policy decides along; name one as `policy.shadow` in gateway.yaml"))
    if found["revision"] is None:
        return Lines(*parts)
    differ = sum(found["changes"].values()) - found["changes"]["same"] - found["changes"]["unknown"]
    said = f"{differ} of {found['compared']} decisions since {found['since']} would differ under {found['revision']}"
    parts.append(Text(said))
    aside = {"dropped": "not compared, since the shadow was busy", "unlogged": "counted and not in the audit log"}
    parts += [Text(f"{found[name]} {words}") for name, words in aside.items() if found[name]]
    parts += [Text(), changes_table(found["changes"], blocks=blocks)] if found["compared"] else []
    if found["differences"]:
        parts += [Text(), _differences(found["differences"])]
    if len(found["differences"]) > MAX_ROWS:
        parts.append(Text(f"… and {len(found['differences']) - MAX_ROWS} more kinds: --json"))
    parts += [Text(f"not judged: {item['count']}, {flat(item['why'])}") for item in found["unknown"]]
    return Lines(*parts)


def changes_table(changes: dict[str, int], *, blocks: bool) -> Table:
    """How many decisions would come to what."""
    table = Table("decisions", "", "", box=None)
    most = max(changes.values(), default=0)
    for change, words in SAID.items():
        if changes.get(change):
            table.add_row(str(changes[change]), words, bar(changes[change], most, blocks=blocks))
    return table


def _differences(rows: list[dict[str, Any]]) -> Table:
    table = Table("question", "change", "count", "rules", "action", "newest decision", box=None)
    for row in rows[:MAX_ROWS]:
        rules = Text(flat(", ".join(row["rules"])) or "-")
        action = Text(flat(row["actions"][0]["action"]) or "-")
        table.add_row(row["question"], row["change"], str(row["count"]), rules, action, row["decisions"][-1])
    return table
