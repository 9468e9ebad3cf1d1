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
    counts = ", ".join(
        f"{found[name]} {name}" for name in ("same", "different", "damaged", "altered", "unknown") if found[name]
    )
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


def explained_text(found: dict[str, Any]) -> Group:
    """Why, in the order a person asks: what was answered, by which rules, what made them, what would pass."""
    answer = "allowed" if found["allow"] else "denied"
    parts: list[Any] = [
        Text(f"{found['decision']}: `{found['question']}` was {answer} at {when(found['at'])} (UTC)"),
        Text(f"operation  {found['operation'] or 'none'}"),
        Text(f"policy     {found['revision']}"),
    ]
    parts += [Text(f"hidden     {flat(item)}") for item in found["hidden"]]
    parts += [Text(f"masked     {flat(item)}") for item in found["masked"]]
    parts += [
        Text(f"exception  {flat(item['name'])}: without it {item['rule']} had said no; it ends at {item['until']}")
        for item in found["exceptions"]
    ]
    for rule in found["rules"]:
        parts += [Text(), *_rule(rule, bool(found["problem"]))]
    if found["problem"]:
        return Group(*parts, Text(), Text(f"! the policy could not be asked again: {flat(found['problem'])}"))
    parts.append(Text())
    if found["allow"]:
        parts += [
            Text(f"hangs on   {_at(item, 'denied by ' + ', '.join(item['denied_by']))}") for item in found["hangs_on"]
        ]
        if not found["hangs_on"]:
            parts.append(Text("no single change that was tried would have denied it"))
    else:
        parts += [Text(f"would pass with {_instead(item)}") for item in found["would_pass"]]
        if not found["would_pass"]:
            parts.append(Text("no single change that was tried would make it pass: see each rule's fix"))
    if found["allow"] and found["obligations"]:
        parts.append(Text(f"demands    {flat(json.dumps(found['obligations'], sort_keys=True))}"))
    bound = "; its bound was reached, there may be more" if found["exhausted"] else ""
    parts.append(Text(f"found by asking the policy {found['evaluations']} times with one thing changed{bound}"))
    return Group(*parts)


def _rule(rule: dict[str, Any], unasked: bool) -> list[Text]:
    severity = f" ({rule['severity']})" if rule["severity"] else ""
    lines = [Text(f"rule {flat(rule['rule'])}{severity}: {flat(rule['title'])}. {flat(rule['message'])}")]
    if rule["why"]:
        lines.append(Text(f"  why      {flat(rule['why'])}"))
    if rule["details"]:
        lines.append(Text(f"  details  {flat(json.dumps(rule['details'], sort_keys=True), limit=500)}"))
    lines += [Text(f"  made by  {_at(item)}") for item in rule["made_by"]]
    if not rule["made_by"] and not unasked:
        lines.append(Text("  made by  not found: no single change that was tried took it away"))
    lines.append(Text(f"  fix      {flat(rule['fix'])}"))
    return lines


def _at(item: dict[str, Any], then: str = "not said") -> str:
    instead = item["instead"] if item["instead"].startswith("without") else f"with {item['instead']}"
    return flat(f"{item['pointer']} = {item['value']} ({then} {instead})", limit=500)


def _instead(item: dict[str, Any]) -> str:
    demands = f", and then demands {json.dumps(item['demands'], sort_keys=True)}" if item["demands"] else ""
    return flat(f"{item['instead']} at {item['pointer']}{demands}", limit=500)
