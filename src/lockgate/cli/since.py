"""Reads how far back a command looks: `90m`, `12h`, `7d`, `4w`. It must not look at a clock."""

from __future__ import annotations

import re
from typing import Final

from lockgate.cli.frame import bad_input

MAX_SECONDS: Final = 366 * 24 * 3600
_UNITS: Final = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_FORM: Final = re.compile(r"([1-9][0-9]{0,5})([mhdw])")


def seconds_of(text: str, field: str = "since") -> int:
    """Seconds; at most a year and a day. Raises Problem naming `field`."""
    found = _FORM.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= MAX_SECONDS:
        raise bad_input(
            field,
            f"{text[:40]!r} is no time to look back: a whole number of m, h, d or w, at most 366d",
            fix=f"--{field} 7d",
        )
    return seconds
