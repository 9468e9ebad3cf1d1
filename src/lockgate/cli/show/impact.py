"""What another policy would have changed, as a person reads it: before and after as bars, the kinds of change, and the operations. It must not hide what was not judged."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Group as Lines
from rich.table import Table
from rich.text import Text

from lockgate.cli.show.bars import bar
from lockgate.cli.show.operations import name_of
from lockgate.cli.show.shadow import SAID, changes_table
from lockgate.cli.show.svg import Bar, Group, picture
from lockgate.contract.shown import flat

MAX_ROWS: Final = 20
MAX_KEYS: Final = 5
ANSWERS: Final = ("allow", "wait", "deny")
BY: Final = ("rule", "action", "target", "agent")
_ALIKE: Final = ("same", "unknown")


def headline(found: dict[str, Any]) -> str:
    """How much would be otherwise, and how much nobody can say."""
    differ = _differing(found["changes"])
    operations = _differing(found["operations_by_change"])
    unknown = found["changes"]["unknown"]
    judged = found["decisions"] - unknown
    said = f"{differ} of {judged} decisions would be otherwise, in {operations} of {found['operations']} operations"
    return said + (f"; {unknown} more could not be judged" if unknown else "")


def impact_text(found: dict[str, Any], *, blocks: bool) -> Lines:
    """The report of `lockgate.gateway.impact`."""
    parts: list[Any] = [
        Text(f"{found['since']} to {found['until']}, under {found['revision']}:"),
        Text(headline(found)),
        Text(),
        _before_after(found, blocks=blocks),
        Text(),
        changes_table(found["changes"], blocks=blocks),
    ]
    parts += [Text(f"not judged: {item['count']}, {flat(item['why'])}") for item in found["unknown"][:MAX_ROWS]]
    if found["cut"]:
        parts.append(Text("! operations are counted up to a bound; decisions are counted whole"))
    for name in BY:
        rows = found[f"{name}s"][:MAX_KEYS]
        if rows:
            parts += [Text(), _breakdown(rows, name, blocks=blocks)]
    if found["differences"]:
        parts += [Text(), _differences(found["differences"])]
    if len(found["differences"]) > MAX_ROWS or found["differences_left_out"]:
        parts.append(Text("… and more: --json names up to 1000"))
    return Lines(*parts)


def _before_after(found: dict[str, Any], *, blocks: bool) -> Table:
    table = Table("answer", "then", "", "under this policy", "", box=None)
    most = max([*found["before"].values(), *found["after"].values()], default=0)
    for answer in ANSWERS:
        then, now = found["before"].get(answer, 0), found["after"].get(answer, 0)
        drawn = [bar(count, most, blocks=blocks) for count in (then, now)]
        table.add_row(answer, str(then), drawn[0], str(now), drawn[1])
    return table


def _breakdown(rows: list[dict[str, Any]], name: str, *, blocks: bool) -> Table:
    table = Table(f"by {name}", "decisions", "", "what", box=None)
    most = rows[0]["total"]
    for row in rows:
        said = ", ".join(f"{count} {SAID[change]}" for change, count in row["changes"].items() if count)
        drawn = bar(row["total"], most, width=12, blocks=blocks)
        table.add_row(Text(_key(row[name], name)), str(row["total"]), drawn, said)
    return table


def _differences(rows: list[dict[str, Any]]) -> Table:
    table = Table("operation", "question", "what", "rules", "action", "target", "asked by", box=None)
    for row in rows[:MAX_ROWS]:
        rules = Text(flat(", ".join(row["rules"])) or "-")
        who = Text(name_of(row["agent"]) if row["agent"] else "-")
        place = row["operation"] or row["decision"]
        table.add_row(
            place,
            row["question"],
            SAID[row["change"]],
            rules,
            Text(flat(row["action"])),
            Text(flat(row["target"])),
            who,
        )
    return table


def _key(value: str, name: str) -> str:
    return flat(name_of(value) if name == "agent" and "#" in value else value) or "-"


def impact_picture(found: dict[str, Any]) -> str:
    """Before and after, and the kinds of change, as one SVG."""
    most = max([*found["before"].values(), *found["after"].values()], default=0)
    groups = []
    for heading, counts, colour in (("Then", found["before"], 1), ("Under this policy", found["after"], 0)):
        bars = [Bar(answer, counts.get(answer, 0), most, str(counts.get(answer, 0)), colour) for answer in ANSWERS]
        groups.append(Group(heading, bars))
    kinds = {change: count for change, count in found["changes"].items() if count and change != "same"}
    largest = max(kinds.values(), default=0)
    bars = [
        Bar(SAID[change], count, largest, str(count), 2 if change == "unknown" else 0)
        for change, count in kinds.items()
    ]
    groups.append(Group("What would be otherwise (decisions)", bars))
    for name in BY[:3]:
        rows = found[f"{name}s"][:MAX_ROWS]
        top = max((row["total"] for row in rows), default=0)
        groups.append(
            Group(f"By {name}", [Bar(_key(row[name], name), row["total"], top, str(row["total"]), 3) for row in rows])
        )
    title = f"Impact of {found['revision'][:19]}…, {found['since']} to {found['until']}"
    return picture(title, headline(found), groups)


def _differing(changes: dict[str, int]) -> int:
    return sum(count for change, count in changes.items() if change not in _ALIKE)
