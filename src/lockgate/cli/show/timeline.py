"""One operation's life in order: who, what, when, and by which rules; and the receipts of what was torn down. It must not leave an entry out."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table
from rich.text import Text

from lockgate.cli.show.operations import name_of, when
from lockgate.contract.shown import flat

_DETAILS = ("question", "allow", "rules", "phase", "from", "to", "event", "attempt", "stage", "reason", "state", "what")


def timeline_table(details: dict[str, Any]) -> Table:
    """The audit entries of one operation."""
    table = Table("#", "time (UTC)", "what", "who", "details", box=None)
    for entry in details["entries"]:
        who = Text(name_of(entry["principal"]))
        table.add_row(str(entry["seq"]), when(entry["time"]), entry["kind"], who, Text(detail(entry["body"])))
    return table


def detail(body: Any) -> str:
    """The telling parts of an entry's body on one line."""
    if not isinstance(body, dict):
        return ""
    parts = []
    for name in _DETAILS:
        value = body.get(name)
        if value not in (None, "", [], {}):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            parts.append(f"{name}={flat(text, limit=120)}")
    return " ".join(parts)


def receipts_text(details: dict[str, Any]) -> Text:
    """Every teardown receipt, by attempt: sandboxes with their checks, credentials, broker."""
    lines = []
    for envelope in details["envelopes"]:
        if envelope["kind"] != "receipt":
            continue
        receipt = envelope["payload"]
        flags = [receipt["sandbox_class"], f"broker: {receipt['broker']}"]
        if not receipt["isolated"]:
            flags.append("UNSAFE: no sandbox")
        lines.append(f"receipt of attempt {receipt['attempt']} by {receipt['runner']} ({', '.join(flags)})")
        for box in receipt["sandboxes"]:
            held = sum(box["checks"].values())
            gone = "gone" if box["torn_down"] else "NOT PROVEN GONE"
            shared = ", uid shared" if box["uid_shared"] else ""
            lines.append(f"  {box['stage']}: {gone}, {held} of {len(box['checks'])} checks hold{shared}")
            for way in box.get("tunnels") or ():
                place = flat(f"{way['host']}:{way['port']}", limit=120)
                lines.append(f"    {place}: {way['outcome']}, {way['sent']} bytes out, {way['received']} in")
        for enclosure in receipt.get("enclosures") or ():
            held = sum(enclosure["checks"].values())
            gone = "gone" if enclosure["torn_down"] else "NOT PROVEN GONE"
            lines.append(f"  what they shared: {gone}, {held} of {len(enclosure['checks'])} checks hold")
        witness = receipt["witness"]
        if witness:
            lines.append(f"  witnessed {witness['size']} log entries, root {witness['root'][:23]}…")
    return Text("\n".join(lines))
