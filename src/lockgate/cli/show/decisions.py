"""Decisions as a person reads them: what was replayed, a list, one record. It must not leave out what was hidden, masked or no longer kept."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from lockgate.cli.show.operations import when
from lockgate.contract.shown import flat

MAX_ROWS = 50


def replay_text(found: dict[str, Any]) -> Group:
    """One sentence, then every decision that is not known to be the same."""
    counts = ", ".join(f"{found[name]} {name}" for name in ("same", "different", "damaged", "unknown") if found[name])
    parts: list[Any] = [Text(f"{found['replayed']} decisions were made again: {counts or 'none'}")]
    rows = found["decisions"]
    if rows:
        table = Table("decision", "at (UTC)", "question", "verdict", "why", box=None)
        for row in rows[:MAX_ROWS]:
            table.add_row(row["decision"], when(row["at"]), row["question"], row["verdict"], Text(flat(_why(row))))
        parts += [Text(), table]
    if len(rows) > MAX_ROWS:
        parts.append(Text(f"… and {len(rows) - MAX_ROWS} more: --json"))
    return Group(*parts)


def _why(row: dict[str, Any]) -> str:
    said = []
    for name, item in row["engines"].items():
        words = "; ".join(part for part in (item["why"], *item["differences"]) if part)
        if words:
            said.append(f"{name}: {words}" if len(row["engines"]) > 1 else words)
    return " | ".join(said)


def decisions_text(rows: list[dict[str, Any]]) -> Group:
    """A table, in the order given."""
    table = Table("decision", "at (UTC)", "question", "answer", "operation", "rules", box=None)
    for row in rows:
        rules = ", ".join(item["rule"] for item in row["violations"])
        answer = "allow" if row["allow"] else "deny"
        table.add_row(row["id"], when(row["at"]), row["question"], answer, row["operation"] or "", Text(flat(rules)))
    return Group(table if rows else Text("no decisions are kept for that"))


def record_text(found: dict[str, Any]) -> Group:
    """One record, whole."""
    answer = "allowed" if found["allow"] else "denied"
    parts: list[Any] = [
        Text(f"{found['id']}: `{found['question']}` was {answer} at {when(found['at'])} (UTC)"),
        Text(f"operation  {found['operation'] or 'none'}, tenant {found['tenant']}"),
        Text(f"policy     {found['revision']}"),
        Text(f"engine     {found['engine']} {found['engine_version']}, {found['duration_us']} µs"),
        Text(f"input      {found['input_sha256']}"),
    ]
    parts += [Text(f"hidden     {flat(pointer)} (policy did not see it either)") for pointer in found["hidden"]]
    parts += [Text(f"masked     {flat(pointer)} (policy saw it)") for pointer in found["masked"]]
    parts += [
        Text(f"rule {item['rule']}: {flat(item['message'])} Fix: {flat(item['fix'])}") for item in found["violations"]
    ]
    if found["obligations"]:
        parts.append(Text(f"demands    {flat(json.dumps(found['obligations'], sort_keys=True))}"))
    if found["input_problem"]:
        parts.append(Text(f"! its input cannot be shown: {flat(found['input_problem'])}"))
    else:
        parts += [Text(), Text(flat(json.dumps(found["input"], sort_keys=True), limit=20_000))]
    return Group(*parts)
