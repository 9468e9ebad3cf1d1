"""What the lines of `opa test --coverage` mean: which of an author's lines no test has reached. It runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FileCoverage:
    """Lines of one module that can be reached: how many were, and the first and last line of each stretch that was not."""

    file: str
    covered: int
    missed: tuple[tuple[int, int], ...]

    @property
    def lines(self) -> int:
        """All lines that can be reached."""
        return self.covered + sum(last - first + 1 for first, last in self.missed)

    @property
    def percent(self) -> float:
        return percent([self])

    @property
    def places(self) -> list[str]:
        """`file:line` or `file:first-last` of what no test has reached."""
        return [
            f"{self.file}:{first}" if first == last else f"{self.file}:{first}-{last}" for first, last in self.missed
        ]


def percent(files: Iterable[FileCoverage]) -> float:
    """Of all lines that can be reached, how many of a hundred were, rounded down to a tenth: 100 means all of them."""
    counted = list(files)
    lines = sum(file.lines for file in counted)
    return 100.0 if lines == 0 else sum(file.covered for file in counted) * 1000 // lines / 10


def read_coverage(report: Mapping[str, Any], names: Mapping[str, str]) -> tuple[FileCoverage, ...]:
    """The modules in `names` (path as `opa` has it → the author's), in that order; one that the report leaves out was not reached at all.

    A line counts as reached when any part of it was: OPA reports expressions, and a reader is sent to lines.
    """
    found = []
    for path, name in names.items():
        said = report["files"].get(path, {})
        reached = _rows(said.get("covered", ()))
        found.append(FileCoverage(name, len(reached), _stretches(_rows(said.get("not_covered", ())) - reached)))
    return tuple(found)


def _rows(ranges: Iterable[Mapping[str, Any]]) -> set[int]:
    return {row for each in ranges for row in range(each["start"]["row"], each["end"]["row"] + 1)}


def _stretches(rows: set[int]) -> tuple[tuple[int, int], ...]:
    stretches: list[tuple[int, int]] = []
    for row in sorted(rows):
        if stretches and stretches[-1][1] == row - 1:
            stretches[-1] = (stretches[-1][0], row)
        else:
            stretches.append((row, row))
    return tuple(stretches)
