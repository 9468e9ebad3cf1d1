"""Runs the engine and says in our own words why it stopped; it must not pass its output on raw, or read success out of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lockgate.contract.jobchannel import JobResult
from lockgate.contract.shown import visible
from lockgate.job.drivers import process
from lockgate.job.drivers.opentofu.workplace import Workplace
from lockgate.job.drivers.port import BLANK, StageContext

MAX_JSON_BYTES = 64 << 20
_DETAIL_CHARACTERS = 1_800
_LOOKED_AT = 64 << 10


class EngineStopped(Exception):
    """The engine did not end well; `outcome` says how, the text why, in words for whoever asked."""

    def __init__(self, outcome: process.Outcome, why: str) -> None:
        super().__init__(why)
        self.outcome = outcome


@dataclass(slots=True)
class Engine:
    """One stage's runs of the engine, in one workplace and within one time limit; `log` is what they said, made visible."""

    ctx: StageContext
    place: Workplace
    _said: list[str] = field(default_factory=list)
    _truncated: bool = False

    def run(self, *arguments: str, allowed: Sequence[int] = (0,)) -> process.Outcome:
        """Run it with output for people, which goes to the log. Raises EngineStopped unless it ends with an allowed exit code."""
        outcome = self._start(arguments, self.ctx.output_bytes)
        self._note(outcome.stdout, outcome.stderr)
        self._truncated = self._truncated or outcome.truncated
        return _ended(arguments[0], outcome, allowed)

    def ask(self, *arguments: str) -> str:
        """Run it for its answer: what it wrote to standard output, whole. Raises EngineStopped, also when the answer is too large."""
        outcome = self._start(arguments, MAX_JSON_BYTES)
        self._note(outcome.stderr[: self.ctx.output_bytes])
        _ended(arguments[0], outcome, (0,))
        if outcome.truncated:
            raise EngineStopped(
                replace(outcome, exit_code=1),
                f"what it has to say is larger than {MAX_JSON_BYTES >> 20} MiB; split the root module",
            )
        return outcome.stdout

    def result(self, status: str, exit_code: int | None, detail: str = "") -> JobResult:
        """A result of this stage with the log so far."""
        log = visible("\n".join(self._said), limit=4 * self.ctx.output_bytes)
        return replace(BLANK, status=status, exit_code=exit_code, detail=detail, log=log, truncated=self._truncated)

    def stopped(self, why: EngineStopped) -> JobResult:
        """The result of a stage whose engine stopped: its end, and the reason as `detail`."""
        status = "failed" if why.outcome.status == "ok" else why.outcome.status
        return self.result(status, why.outcome.exit_code, str(why))

    def _start(self, arguments: Sequence[str], keep_bytes: int) -> process.Outcome:
        argv = [str(self.place.program), *arguments]
        command = process.Command(argv, self.place.env, self.place.root, self.ctx.seconds_left, keep_bytes)
        return process.run(command, self.ctx.clock)

    def _note(self, *texts: str) -> None:
        self._said += [text for text in texts if text]


def _ended(name: str, outcome: process.Outcome, allowed: Sequence[int]) -> process.Outcome:
    if outcome.exit_code in allowed and not outcome.timed_out:
        return outcome
    reason = explain(outcome.stderr) if outcome.exit_code is not None and not outcome.timed_out else ""
    raise EngineStopped(outcome, f"{name} {outcome.how}{': ' if reason else ''}{reason}")


_REASONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (
            r"Saved plan is stale",
            "the plan is stale: the state was changed after the plan was made, so nothing was applied. Plan again",
        ),
        (
            r"Saved plan does not match the given state",
            "the plan was made from a state of another lineage, so nothing was applied. Plan again, and find out why the state was replaced",
        ),
        (
            r"plan file was created by (?P<by>[A-Za-z ]{1,40} [0-9A-Za-z.+-]{1,40}), but this is (?P<this>[0-9A-Za-z.+-]{1,40})",
            "the plan was made by {by}, and the engine here is version {this}: plans do not move between engines or versions. Plan again",
        ),
        (
            r'There is no variable named "(?P<name>[^"]{1,100})"',
            "variables.{name}: the root module declares no variable of this name; declare it there, or map the argument to another",
        ),
        (
            r"the local package for (?P<what>\S{1,300}) (?P<version>\S{1,80}) doesn't match any of the checksums",
            "provider {what} {version}: the build in the runner's mirror is not the one that the lock file pins; lock the mirror's build "
            "(`providers lock -fs-mirror`), or have the runner's mirror corrected",
        ),
        (
            r"provider (?P<what>\S{1,300}) was not found in any of the search locations",
            "provider {what} is not in the runner's mirror, the only place providers come from; ask the runner's owner to add it",
        ),
        (
            r"provider (?P<what>[^\s:]{1,300}): (?:the previously-selected version|no available releases match)",
            "provider {what} is in the runner's mirror, but not in the version that the source asks for; pin one that is there",
        ),
        (
            r"provider dependency changes were detected|Provider dependency changes detected",
            "the lock file does not pin every provider that the source or the state needs; run `init` where you write the source, and keep "
            ".terraform.lock.hcl in it",
        ),
        (
            r"Inconsistent dependency lock file",
            "the plan was made with other providers than the lock file pins; plan again",
        ),
        (
            r"Failed to download module|Error accessing remote module registry|Module not found|Unreadable module directory",
            "a module could not be fetched: modules must lie in the source and be called by a local path",
        ),
    )
)


def explain(stderr: str) -> str:
    """Why the engine stopped, from what it wrote for people: one of the reasons we know, with the fix, and its own first words. Made visible."""
    said = stderr[:_LOOKED_AT]
    flat = " ".join(said.split())
    own = visible(flat[max(flat.find("Error:"), 0) :], limit=_DETAIL_CHARACTERS // 2)
    if "Error acquiring the state lock" in flat:
        return f"the state is locked by somebody else, so nothing was done: {_holder(said)}. Try again when it is free"
    for pattern, text in _REASONS:
        found = pattern.search(flat)
        if found is not None:
            named = {name: visible(value or "", limit=300) for name, value in found.groupdict().items()}
            return f"{text.format(**named)}. It said: {own}"
    return own


def _holder(said: str) -> str:
    start = said.find("Lock Info:\n")
    if start < 0:
        return "it does not say by whom"
    info = said[start:].split("\n\n", 1)[0].splitlines()[1:]
    shown = [" ".join(line.split()) for line in info if line.strip() and not line.strip().endswith(":")]
    return visible("; ".join(shown), limit=_DETAIL_CHARACTERS // 2)
