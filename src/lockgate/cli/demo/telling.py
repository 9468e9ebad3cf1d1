"""Tells what happens, with the time it took, and keeps count of what did not go as expected; it must not make anything happen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lockgate.cli.problem import Problem
from lockgate.cli.screen import Screen


class Unexpected(Exception):
    """What had to happen did not; the scene cannot go on."""


@dataclass
class Telling:
    """The transcript: for people lines on stdout, under --json one document at the end."""

    screen: Screen
    began: float = field(default_factory=time.monotonic)
    scenes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anything went otherwise than expected."""
        return any(not check["held"] for scene in self.scenes for check in scene["checks"])

    @contextmanager
    def scene(self, title: str) -> Iterator[None]:
        """One scene; a failure in it is told, and the demo goes on with the next."""
        start = time.monotonic()
        self.scenes.append({"title": title, "checks": []})
        self._print(f"\n{len(self.scenes)}. {title}", "bold")
        try:
            yield
        except Unexpected:
            pass
        except Problem as problem:
            self.check(False, f"no failure; but: {problem.message}")
        seconds = time.monotonic() - start
        self.scenes[-1]["seconds"] = round(seconds, 1)
        self._print(f"   {seconds:.1f} s, {time.monotonic() - self.began:.0f} s in all", "dim")

    def say(self, text: str) -> None:
        """A line of the story."""
        self._print(f"   {text}", "")

    def show(self, renderable: Any) -> None:
        """A table or page, as the commands show it."""
        if not self.screen.as_json:
            self.screen.out.print(renderable)

    def check(self, held: bool, what: str) -> bool:
        """Something that has to be true here."""
        self.scenes[-1]["checks"].append({"what": what, "held": held})
        self._print(f"   {'✓' if held else '✗ NOT'} {what}", "green" if held else "bold red")
        return held

    def demand(self, held: bool, what: str) -> None:
        """As `check`, where the scene makes no sense otherwise. Raises Unexpected."""
        if not self.check(held, what):
            raise Unexpected(what)

    def _print(self, text: str, style: str) -> None:
        if not self.screen.as_json:
            self.screen.out.print(text, style=style or None, markup=False, highlight=False)
