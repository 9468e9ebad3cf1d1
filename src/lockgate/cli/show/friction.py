"""Denial friction as a person reads it: one sentence, the objective, bars, and what to do about the rules that deny most. It must not hide what it leaves out."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Group as Lines
from rich.table import Table
from rich.text import Text

from lockgate.cli.show.bars import bar, sparkline
from lockgate.cli.show.svg import Bar, Group, picture
from lockgate.contract.shown import flat

MAX_ROWS: Final = 20
KEYS: Final = {"rule": "rules", "action": "actions", "agent": "agents", "day": "days"}


def headline(found: dict[str, Any]) -> str:
    """Numerator, denominator, objective."""
    asked = found["asked"]
    if not asked:
        return "nothing was asked"
    what = "different requests" if found["collapsed"] else "requests"
    return f"{found['denied']} of {asked} {what} were denied ({percent(found['share'])}). {objective(found)}"


def objective(found: dict[str, Any]) -> str:
    """Met or missed."""
    below, met = found["objective"]["below"], found["objective"]["met"]
    return f"Objective: under {percent(below)}: {'met' if met else 'missed'}"


def percent(share: float | None) -> str:
    """At most two digits after the point."""
    return "none" if share is None else f"{share * 100:.2f}".rstrip("0").rstrip(".") + " %"


def friction_text(found: dict[str, Any], by: str, *, blocks: bool) -> Lines:
    """The report, by rule, action, agent or day."""
    parts: list[Any] = [Text(f"{found['since']} to {found['until']}: {headline(found)}")]
    if found["cut"]:
        parts.append(
            Text("! only the newest part of that time was counted: there was more than fits. Look back less far.")
        )
    if not found["asked"]:
        return Lines(*parts)
    aside = [f"{found[name]} {said}" for name, said in _ASIDE.items() if found[name]]
    if aside:
        parts.append(Text(f"not counted as denied: {', '.join(aside)}"))
    shares = [day["share"] for day in found["days"]]
    first, last = found["days"][0]["day"], found["days"][-1]["day"]
    parts.append(
        Text(f"share of denied requests by day (UTC), {first} to {last}: [{sparkline(shares, blocks=blocks)}]")
    )
    rows = found[KEYS[by]]
    if rows:
        parts += [Text(), _rules(rows, blocks=blocks) if by == "rule" else _tallies(rows, by, blocks=blocks)]
    if len(rows) > MAX_ROWS:
        parts.append(Text(f"… and {len(rows) - MAX_ROWS} more: --json"))
    if by == "rule":
        parts += [
            Text(f"{flat(row['rule'])}: {flat(row['title'])}. Fix: {flat(row['fix'])}") for row in rows[:MAX_ROWS]
        ]
    return Lines(*parts)


_ASIDE: Final = {"waiting": "that wait or are under way", "rejected": "that a person rejected"}


def _rules(rows: list[dict[str, Any]], *, blocks: bool) -> Table:
    table = Table("rule", "denied", "of all", "", box=None)
    top = rows[0]["denied"]
    for row in rows[:MAX_ROWS]:
        drawn = bar(row["denied"], top, blocks=blocks)
        table.add_row(Text(flat(row["rule"])), str(row["denied"]), percent(row["share"]), drawn)
    return table


def _tallies(rows: list[dict[str, Any]], by: str, *, blocks: bool) -> Table:
    table = Table(by, "denied", "asked", "share", "", box=None)
    top = max((row["share"] or 0.0 for row in rows), default=0.0)
    for row in rows[:MAX_ROWS] if by != "day" else rows[-MAX_ROWS:]:
        drawn = bar(row["share"] or 0.0, top, blocks=blocks)
        table.add_row(Text(flat(row[by])), str(row["denied"]), str(row["asked"]), percent(row["share"]), drawn)
    return table


def friction_picture(found: dict[str, Any]) -> str:
    """All of it as one SVG."""
    title = f"Denied requests, {found['since']} to {found['until']}"
    below = found["objective"]["below"]
    top = max([day["share"] or 0.0 for day in found["days"]] + [below]) * 1.1
    days = [Bar(day["day"], day["share"] or 0.0, top, _counted(day)) for day in found["days"]]
    groups = [Group("Share of denied requests by day (UTC)", days, (below, f"objective: under {percent(below)}"))]
    most = max((row["denied"] for row in found["rules"]), default=0)
    rules = [
        Bar(row["rule"], row["denied"], most, f"{row['denied']} ({percent(row['share'])})") for row in found["rules"]
    ]
    groups.append(Group("Denied requests by rule", rules[:MAX_ROWS]))
    for by in ("action", "agent"):
        rows = found[KEYS[by]][:MAX_ROWS]
        largest = max((row["share"] or 0.0 for row in rows), default=0.0)
        bars = [Bar(row[by], row["share"] or 0.0, largest, _counted(row), 1) for row in rows]
        groups.append(Group(f"Share of denied requests by {by}", bars))
    return picture(title, headline(found), groups)


def _counted(row: dict[str, Any]) -> str:
    return f"{row['denied']} of {row['asked']} ({percent(row['share'])})" if row["asked"] else "nothing asked"
