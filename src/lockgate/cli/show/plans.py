"""A plan as its approver sees it: every change, what the driver cannot show, and the digests a vote will carry. Never more than was fetched."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Group
from rich.text import Text

from lockgate.cli.show.operations import deceptive, facts
from lockgate.contract.drivers import UnknownDriver, declaration
from lockgate.contract.shown import flat

SIGNS = {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red"), "replace": ("±", "red")}
MAX_CHANGES = 200
MAX_VALUE = 2_000


def plan_text(details: dict[str, Any]) -> Group:
    """The plan of an operation's details document. Agent text is quoted; control and bidi characters are visible."""
    operation, plan = details["operation"], details["plan"]
    record = operation["plan"]
    counts = (
        ", ".join(f"{count} to {verb}" for verb, count in record["summary"].items() if count) or "nothing to change"
    )
    parts: list[Text] = [
        Text(f"Plan of {operation['action']} on {operation['target']}: {counts}", style="bold"),
        facts(operation),
        *deceptive(operation),
        *deceptive(details),
    ]
    changes = plan["resource_changes"] if plan is not None else []
    for change in changes[:MAX_CHANGES]:
        parts += change_lines(change)
    if len(changes) > MAX_CHANGES:
        parts.append(Text(f"… and {len(changes) - MAX_CHANGES} more: lockgate operation show --json", style="red"))
    parts += [Text(f"! not known: {flat(item, limit=500)}", style="yellow") for item in record["incomplete"]]
    for reading in details.get("readings", ()):
        parts += reading_lines(reading)
    parts += cannot_show(plan, record["fidelity"])
    parts += [Text(f"{name:<16} {digest}") for name, digest in sorted(record["digests"].items())]
    return Group(*parts)


def reading_lines(reading: dict[str, Any]) -> list[Text]:
    """What a rule said: its value, what would pass, and what follows."""
    value, verdict = reading.get("value"), reading["verdict"]
    denials = value if isinstance(value, list) else []
    said = {
        "undefined": "no value",
        "mistyped": f"{flat(str(reading.get('type')), limit=20)}, which cannot be read",
    }.get(verdict)
    if said is None:
        said = f"{reading['count']} denials" if "count" in reading else flat(json.dumps(value), limit=100)
        said += f" (up to {reading['limit']:g} passes)" if "limit" in reading else ""
    follows = {"passed": "passes", "violated": "needs approval" if reading["effect"] == "approve" else "denies"}
    title = f"rule {flat(reading['title'], limit=200)}: {said}: {follows.get(verdict, 'denies')}"
    lines = [Text(title, style="" if verdict == "passed" else "yellow")]
    lines.append(Text(f"    {flat(reading['path'], limit=300)}", style="dim"))
    lines += [Text(f"    {flat(str(item), limit=MAX_VALUE)}") for item in denials]
    left = reading.get("count", 0) - len(denials)
    if left > 0:
        lines.append(Text(f"    … and {left} more"))
    return lines


def cannot_show(plan: dict[str, Any] | None, fidelity: str) -> list[Text]:
    """What approving a plan of this fidelity means, in the driver's own words."""
    if fidelity != "predicted":
        return [Text("fidelity exact: these bytes are what is applied")]
    lines = [
        Text(
            "fidelity predicted: what is approved and applied are the sealed inputs; the changes are what the tool expects"
        )
    ]
    try:
        known = declaration(str(plan["driver"])).cannot_show if plan is not None else ()
    except UnknownDriver:
        known = ()
    return lines + [Text(f"  cannot show: {item}", style="dim") for item in known]


def change_lines(change: dict[str, Any]) -> list[Text]:
    """One resource change: what happens to it, and each value before and after."""
    body = change["change"]
    verb = _verb(body["actions"])
    sign, style = SIGNS.get(verb, ("?", ""))
    lines = [Text(f"{sign} {verb} {flat(str(change.get('address', '')), limit=300)}", style=style)]
    before, after = _values(body.get("before")), _values(body.get("after"))
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            label = flat(name, limit=100)
            lines.append(
                Text(f"    {label}: {_shown(old)} → {_shown(new)}" if label else f"    {_shown(old)} → {_shown(new)}")
            )
    return lines


def _verb(actions: list[str]) -> str:
    if "delete" in actions and "create" in actions:
        return "replace"
    return "delete" if "forget" in actions else str(actions[0])


def _values(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"": value}


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return flat(json.dumps(value, ensure_ascii=False, sort_keys=True), limit=MAX_VALUE)
