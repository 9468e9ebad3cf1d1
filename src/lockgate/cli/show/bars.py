"""Small pictures made of characters: bars and sparklines, with plain letters where a terminal has no others. They must not carry what the text does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_HEIGHTS: Final = "_.-=+*%#"


def draws_blocks(encoding: str) -> bool:
    """Whether an output of this encoding can show block characters."""
    try:
        (_EIGHTHS + _HEIGHTS).encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def bar(part: float, whole: float, *, width: int = 24, blocks: bool = True) -> str:
    """`part` of `whole` as a bar of at most `width` characters; whatever is more than nothing is seen."""
    if part <= 0 or whole <= 0:
        return ""
    eighths = max(1, round(min(part / whole, 1.0) * width * 8))
    if not blocks:
        return "#" * max(1, eighths // 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def sparkline(values: Sequence[float | None], *, blocks: bool = True) -> str:
    """One character a value, by its height among all; a gap where there is none (None)."""
    heights = _HEIGHTS if blocks else _PLAIN_HEIGHTS
    top = max((value for value in values if value is not None), default=0.0)
    said = ""
    for value in values:
        if value is None:
            said += " "
        else:
            said += heights[min(len(heights) - 1, round(value / top * (len(heights) - 1)) if top else 0)]
    return said
