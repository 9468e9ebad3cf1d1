"""Where a command's words go: answers to stdout, progress and errors to stderr, colours only on a terminal. It must not decide anything."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lockgate.contract.shown import flat, visible

if TYPE_CHECKING:
    from rich.console import Console

    from lockgate.cli.problem import Problem


@dataclass
class Screen:
    """One command's output. `as_json`: stdout carries exactly one JSON document (or one per line for a stream)."""

    as_json: bool = False
    unsafe: tuple[str, ...] = field(default=())

    @cached_property
    def out(self) -> Console:
        """The console of stdout."""
        return _console(stderr=False)

    @cached_property
    def err(self) -> Console:
        """The console of stderr."""
        return _console(stderr=True)

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin.isatty() and sys.stdout.isatty() and not self.as_json

    def answer(self, document: dict[str, Any], render: Callable[[Console], None]) -> None:
        """The command's answer: the document under --json, else what `render` writes."""
        if self.as_json:
            self.emit(document)
        else:
            self.warn_unsafe()
            render(self.out)

    def emit(self, document: dict[str, Any]) -> None:
        """One JSON document on one line of stdout, keys sorted; it names the unsafe choices, if any."""
        if self.unsafe:
            document = {**document, "unsafe": list(self.unsafe)}
        # In ASCII: a terminal takes some characters beyond it for commands, and JSON means the same.
        print(json.dumps(document, sort_keys=True), flush=True)

    def note(self, text: str) -> None:
        """Progress for a person, on stderr."""
        self.err.print(visible(text), markup=False, highlight=False)

    def warn_unsafe(self) -> None:
        """Unsafe choices are on every screen."""
        for name in self.unsafe:
            self.err.print(f"UNSAFE: {name.replace('_', ' ')} (dev only)", style="bold red", markup=False)

    def problem(self, problem: Problem) -> None:
        """What happened, why and what to do: stderr for people, and the document on stdout under --json."""
        if self.as_json:
            self.emit(problem.document())
            return
        text = f"{problem.field}: {problem.message}" if _unsaid(problem) else problem.message
        self.err.print(f"error: {visible(text)}", style="bold red", markup=False, highlight=False)
        for rule in problem.rules:
            said = rule.get("message") or rule.get("title") or ""
            self.err.print(f"  rule {rule.get('rule')}: {flat(said)}", markup=False, highlight=False)
            if rule.get("fix"):
                self.err.print(f"    {flat(rule['fix'])}", markup=False, highlight=False)
        if problem.fix:
            self.err.print(f"  fix: {visible(problem.fix)}", markup=False, highlight=False)


def _unsaid(problem: Problem) -> bool:
    return bool(problem.field) and problem.field not in problem.message


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # Off a terminal lines are not wrapped: other programs read them.
    width = None if stream.isatty() else 200
    return Console(file=stream, width=width, soft_wrap=not stream.isatty(), emoji=False)
