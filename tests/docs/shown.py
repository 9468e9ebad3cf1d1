"""Holds what a command printed against what a page shows: ids, digests and times are the run's own, `…` stands for anything."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ID = r"\b(?:op|at|dec|pm)_[a-z0-9]{6,}"
_DIGEST = r"sha256:[0-9a-f]{8,64}"
_TIME = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?"
_TOKENS = re.compile(f"({_ID}|{_DIGEST}|{_TIME}|…)")
_OWN = re.compile(f"(?:{_ID}|{_DIGEST})")


class Names:
    """The ids and digests that a page shows, and what they are in this run."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}

    def in_command(self, text: str) -> str:
        """A command with the run's own ids in the place of the page's. Raises AssertionError for one the page never showed."""

        def own(found: re.Match[str]) -> str:
            assert found.group() in self._of, f"{found.group()}: no output on this page shows this id before"
            return self._of[found.group()]

        return _OWN.sub(own, text)

    def compare(self, shown: Iterable[str], printed: str) -> None:
        """Every shown line stands in the output, in this order. Raises AssertionError naming the first that does not."""
        lines = [" ".join(line.split()) for line in printed.splitlines()]
        at = 0
        for wanted in shown:
            plain = " ".join(wanted.split())
            if plain == "…":
                continue
            while at < len(lines) and not self._matches(plain, lines[at]):
                at += 1
            assert at < len(lines), f"the page shows a line that was not printed:\n  {plain}\nprinted:\n{printed}"
            at += 1

    def _matches(self, wanted: str, line: str) -> bool:
        pattern, groups = "", {}
        for number, part in enumerate(_TOKENS.split(wanted)):
            if part == "…":
                pattern += ".*"
            elif re.fullmatch(_TIME, part):
                pattern += _TIME
            elif _OWN.fullmatch(part):
                groups[f"own{number}"] = part
                kind = _DIGEST if part.startswith("sha256:") else part.split("_")[0] + "_[a-z0-9]+"
                pattern += f"(?P<own{number}>{re.escape(self._of[part]) if part in self._of else kind})"
            else:
                pattern += re.escape(part)
        found = re.fullmatch(pattern, line)
        if found is None:
            return False
        self._of |= {part: found.group(name) for name, part in groups.items()}
        return True
