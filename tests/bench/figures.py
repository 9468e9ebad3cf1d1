"""The figures of one run: a table for people, one for a page, and build/bench.json for machines; it must not soften a miss."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.goals import GOALS, Goal


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; its goal, if any, stands in `goals` under its name."""

    name: str
    value: float
    unit: str
    note: str = ""

    @property
    def goal(self) -> Goal | None:
        """What it must reach."""
        return GOALS.get(self.name)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        return None if self.goal is None else self.goal.met(self.value)

    @property
    def fails(self) -> bool:
        """A missed ratio: no machine excuses it."""
        return self.goal is not None and self.goal.ratio and not self.met

    @property
    def goal_words(self) -> str:
        """The goal as people read it, or nothing."""
        return "" if self.goal is None else self.goal.words(self.unit)


@dataclass(slots=True)
class Report:
    """Figures in the order they were measured."""

    machine: dict[str, str]
    command: str
    figures: list[Figure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Figure]:
        """The missed ratios."""
        return [item for item in self.figures if item.fails]

    def write(self, path: Path) -> None:
        """build/bench.json: name → value, unit, goal, met, note."""
        figures = {
            item.name: {
                "value": round(item.value, 4),
                "unit": item.unit,
                "goal": item.goal_words or None,
                "ratio": item.goal is not None and item.goal.ratio,
                "met": item.met,
                "note": item.note,
            }
            for item in self.figures
        }
        document = {"machine": self.machine, "command": self.command, "remarks": self.remarks, "figures": figures}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n")

    def table(self) -> str:
        """The figures as text, one a line."""
        rows = [("figure", "value", "unit", "goal", "met", "note")]
        rows += [
            (item.name, shown(item.value), item.unit, item.goal_words, said(item), item.note) for item in self.figures
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [*self._head(), ""]
        for name, value, unit, goal, met, note in rows:
            cells = [name.ljust(widths[0]), value.rjust(widths[1]), unit.ljust(widths[2]), goal.ljust(widths[3])]
            lines.append("  ".join([*cells, met.ljust(widths[4]), note]).rstrip())
        return "\n".join(lines)

    def markdown(self) -> str:
        """The same for docs/performance.md: the machine as a text block, the figures as a table; ratios that bind are bold."""
        lines = ["```text", *self._head(), "```", "", "| figure | value | goal | met | |", "|---|---:|---|---|---|"]
        for item in self.figures:
            name = f"**{item.name}**" if item.goal is not None and item.goal.ratio else item.name
            value = f"{shown(item.value)} {item.unit}".rstrip()
            lines.append(f"| {name} | {value} | {item.goal_words} | {said(item)} | {item.note} |")
        return "\n".join(lines)

    def _head(self) -> list[str]:
        lines = [f"{name:14} {value}" for name, value in self.machine.items()]
        return [*lines, f"{'command':14} {self.command}", *(f"{'note':14} {remark}" for remark in self.remarks)]


def shown(value: float) -> str:
    """Three significant digits or all whole ones."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def said(figure: Figure) -> str:
    """A verdict in a word: a missed ratio is louder than what a quiet machine may still show."""
    if figure.met is None:
        return ""
    return "yes" if figure.met else "NO, FAILS" if figure.fails else "no"


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
