"""The figures of one run: a table for people and build/bench.json for machines; it must not soften a miss."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. With `at_most` or `at_least` it has a goal; without either it is shown for comparison."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None

    @property
    def goal(self) -> str | None:
        """The goal in words."""
        if self.at_most is not None:
            return f"<= {self.at_most:g} {self.unit}".rstrip()
        return f">= {self.at_least:g} {self.unit}".rstrip() if self.at_least is not None else None


@dataclass(slots=True)
class Report:
    """Figures in the order they were measured."""

    machine: dict[str, str]
    command: str
    figures: list[Figure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """build/bench.json: name → value, unit, goal, met, note."""
        document = {
            "machine": self.machine,
            "command": self.command,
            "remarks": self.remarks,
            "figures": {
                item.name: {
                    "value": round(item.value, 4),
                    "unit": item.unit,
                    "goal": item.goal,
                    "met": item.met,
                    "note": item.note,
                }
                for item in self.figures
            },
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n")

    def table(self) -> str:
        """The figures as text, one a line."""
        lines = [f"{name:14} {value}" for name, value in self.machine.items()]
        lines += [f"{'command':14} {self.command}", *(f"{'note':14} {remark}" for remark in self.remarks), ""]
        rows = [
            (item.name, shown(item.value), item.unit, item.goal or "", said(item.met), item.note)
            for item in self.figures
        ]
        head = ("figure", "value", "unit", "goal", "met", "note")
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(5)]
        for row in (head, *rows):
            name, value, unit, goal, met, note = row
            cells = [name.ljust(widths[0]), value.rjust(widths[1]), unit.ljust(widths[2]), goal.ljust(widths[3])]
            lines.append("  ".join([*cells, met.ljust(widths[4]), note]).rstrip())
        return "\n".join(lines)


def shown(value: float) -> str:
    """Three significant digits or all whole ones."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def said(met: bool | None) -> str:
    """A verdict in a word."""
    return {True: "yes", False: "NO", None: ""}[met]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
