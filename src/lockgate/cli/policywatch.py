"""Tells the screen of `lockgate dev` what became of an edited policy. It asks the gateway and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lockgate.cli.client import PeopleClient
from lockgate.cli.problem import Problem
from lockgate.cli.screen import Screen


@dataclass(slots=True)
class PolicyWatch:
    """`url` is the gateway's. What it said last is what was told last."""

    url: str
    screen: Screen
    revision: str | None = None
    error: str | None = None

    def look(self) -> None:
        """Say what is new: another policy in force, or why an edit was not taken."""
        try:
            policy: dict[str, Any] = PeopleClient(self.url, "").health().get("policy", {})
        except Problem:
            return  # a gateway that ends is told of by whoever started it
        revision, error = policy.get("taken"), policy.get("error")
        if error != self.error and error is not None:
            self.screen.note(f"policy not taken; the last good one stays in force: {error}")
        elif revision != self.revision and self.revision is not None:
            self.screen.note(f"policy taken up: {revision}")
        self.revision, self.error = revision, error
