"""Tells the screen of `lockgate dev` what became of an edited policy, out of the gateway's log. It asks nobody and changes nothing."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockgate.cli.screen import Screen

MAX_READ = 1 << 20
"""Bytes of log that one look reads; what is left is read at the next."""


@dataclass(slots=True)
class PolicyWatch:
    """`log` is that of a gateway that is started next, of JSON lines; what is in it already is not told, nor the policy that it starts with."""

    log: Path
    screen: Screen
    revision: str | None = None
    _at: int = field(init=False)
    _rest: bytes = b""

    def __post_init__(self) -> None:
        self._at = self.log.stat().st_size if self.log.exists() else 0

    def look(self) -> None:
        """Say what is new: another policy in force, or why an edit was not taken."""
        from lockgate.gateway.policykeeping import NOT_TAKEN, TAKEN

        for entry in self._entries():
            if entry.get("event") == NOT_TAKEN:
                self.screen.note(f"policy not taken; the last good one stays in force: {entry.get('error')}")
            elif entry.get("event") == TAKEN:
                known, self.revision = self.revision, str(entry.get("revision"))
                if known not in (None, self.revision):
                    self.screen.note(f"policy taken up: {self.revision}")

    def _entries(self) -> list[dict[str, Any]]:
        try:
            with self.log.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._at:
                    self._at, self._rest = 0, b""  # it was begun anew
                file.seek(self._at)
                read = file.read(MAX_READ)
        except OSError:
            return []  # not made yet, or taken away: whoever serves goes on, and the next look finds it
        self._at += len(read)
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [entry for line in lines if (entry := _entry(line)) is not None]


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line of the log says; None for one that is none of ours, as a library's."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
