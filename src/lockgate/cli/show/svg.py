"""A self-contained SVG picture of labelled bars: no script, no font, no address of anything. It must not trust a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from lockgate.contract.shown import flat

ROW: Final = 26
LEFT: Final = 280
WIDTH: Final = 420
RIGHT: Final = 220
MAX_BARS: Final = 400
MAX_LABEL: Final = 38
"""Characters; more do not fit left of the bars."""
COLOURS: Final = ("#a3341f", "#2a6f97", "#6b6b6b", "#b5892b")
"""Told apart also without colour: each bar carries its number in words."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: `value` and `of` (the longest bar) in the same unit, `said` the words behind it, `colour` an index into COLOURS."""

    label: str
    value: float
    of: float
    said: str
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Bars under a heading; `line` is a value to mark across them, with the words for it."""

    heading: str
    bars: Sequence[Bar]
    line: tuple[float, str] | None = None


def picture(title: str, said: str, groups: Sequence[Group]) -> str:
    """The whole SVG document. `said` is the picture in one sentence, for who does not see it."""
    parts: list[str] = []
    y = 70
    for group in groups:
        bars = group.bars[:MAX_BARS]
        parts.append(_text(16, y, group.heading, "font-weight='bold'"))
        top, y = y + 10, y + ROW
        for one in bars:
            parts += _row(y, one)
            y += ROW
        if group.line is not None and bars:
            parts += _mark(group.line, bars[0].of, top, y - ROW + 8)
        y += 14
    width, height = LEFT + WIDTH + RIGHT, y + 10
    return "\n".join(
        (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}'"
            " role='img' font-family='sans-serif' font-size='13'>",
            f"<title>{_safe(title)}</title>",
            f"<desc>{_safe(said)}</desc>",
            f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
            _text(16, 26, title, "font-size='17' font-weight='bold'"),
            _text(16, 46, said),
            *parts,
            "</svg>",
            "",
        )
    )


def _row(y: int, one: Bar) -> list[str]:
    length = max(1.0, min(one.value / one.of, 1.0) * WIDTH) if one.value > 0 and one.of > 0 else 0.0
    return [
        _text(LEFT - 10, y, _fitting(one.label), "text-anchor='end'"),
        f"<rect x='{LEFT}' y='{y - 12}' width='{length:.1f}' height='16' fill='{COLOURS[one.colour]}'/>",
        _text(round(LEFT + length + 8), y, one.said),
    ]


def _mark(line: tuple[float, str], of: float, top: int, bottom: int) -> list[str]:
    value, said = line
    if of <= 0 or value > of:
        return []
    x = f"{LEFT + value / of * WIDTH:.1f}"
    return [
        f"<line x1='{x}' y1='{top}' x2='{x}' y2='{bottom}' stroke='#222222' stroke-dasharray='4 3'/>",
        _text(round(float(x)) + 4, top, said, "font-size='11'"),
    ]


def _text(x: int, y: int, said: str, more: str = "") -> str:
    return f"<text x='{x}' y='{y}' fill='#222222'{' ' + more if more else ''}>{_safe(said)}</text>"


def _fitting(label: str) -> str:
    """The end of a long label: what names begin with is often the same for all."""
    shown = flat(label, limit=160)
    return shown if len(shown) <= MAX_LABEL else "…" + shown[1 - MAX_LABEL :]


def _safe(said: str) -> str:
    return escape(flat(said, limit=160))
