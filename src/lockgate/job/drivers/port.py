"""The port every driver implements; it must not know any driver.

A driver of exact fidelity (its declaration says so) is an `ExactDriver`: `plan` answers with the plan file's bytes and no changes, `derive` turns
those bytes into the tool's JSON in a sandbox that has neither source nor credentials, `apply` runs exactly `plan_file`, `verify` answers with
the bytes of one more plan, which are derived too. A driver of predicted fidelity has no `derive`: its `plan` says what it expects to change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lockgate.contract.intent import Stage
from lockgate.contract.jobchannel import JobResult
from lockgate.contract.work import InputsDocument


class StageRefused(Exception):
    """The inputs or the source cannot be run: the text names the field, what is wrong and what would be right. Nothing was started."""


@dataclass(frozen=True, slots=True)
class StageContext:
    """What one stage may touch. `source` is read-only, `scratch` empty and writable, `credentials` a directory or None.

    `output_bytes` bounds each of output and log; `wall_seconds` is what the tools of the stage may take together, counted on `clock` (monotonic
    seconds) from `started`.

    Exact drivers: `plan_file` holds the plan (derive, apply), `tool` is the directory of the engine's program, `providers` a filesystem_mirror,
    `state` the directory of a state that the runner keeps (writable at apply only; None where the source declares a backend, and at derive).
    At derive `source` does not exist and `inputs` has no entry and no variables: no word of an agent reaches the tool.

    `proxy` is the URL of the stage's egress proxy (CONNECT only); None where no network can be reached, as always at derive.
    """

    stage: Stage
    source: Path
    scratch: Path
    credentials: Path | None
    inputs: InputsDocument
    output_bytes: int
    wall_seconds: float
    clock: Callable[[], float]
    started: float
    plan_file: Path | None = None
    state: Path | None = None
    tool: Path | None = None
    providers: Path | None = None
    proxy: str | None = None

    @property
    def proxy_environment(self) -> dict[str, str]:
        """What tools must have in their environment to find the stage's egress proxy; empty where there is no way out."""
        return {} if self.proxy is None else {"HTTPS_PROXY": self.proxy, "https_proxy": self.proxy}

    @property
    def seconds_left(self) -> float:
        """Seconds the tools of this stage still have; zero or less when time is up."""
        return self.started + self.wall_seconds - self.clock()


class Driver(Protocol):
    """Plans, applies, verifies and reads one kind of target. Each call returns a claim and may raise StageRefused before it starts a tool."""

    def plan(self, ctx: StageContext) -> JobResult:
        """What would change (stages plan and check): status `ok` with `changes`, and `incomplete` for what cannot be known."""
        ...

    def apply(self, ctx: StageContext) -> JobResult:
        """Change it: `ok` only when the tool said so."""
        ...

    def verify(self, ctx: StageContext) -> JobResult:
        """What would still change: `ok` with `changes`, or `incomplete` when that cannot be said."""
        ...

    def read(self, ctx: StageContext) -> JobResult:
        """Answer a question without changing anything: `output` is the answer."""
        ...


class ExactDriver(Driver, Protocol):
    """A driver that applies a plan file. Its `plan` and `verify` answer with `plan_file`; what those bytes mean is said by `derive` alone."""

    def derive(self, ctx: StageContext) -> JobResult:
        """What the bytes of `plan_file` say, by the tool's own word: `ok` with `changes` and `document`."""
        ...


BLANK = JobResult("failed", None, (), (), (), (), "", "", "", False)
"""A result that claims nothing; made whole with `dataclasses.replace`."""


def resource_change(address: str, kind: str, name: str, provider: str, change: dict[str, Any]) -> dict[str, Any]:
    """One change in Terraform's JSON plan format; `change` has actions, before and after."""
    return {
        "address": address,
        "mode": "managed",
        "type": kind,
        "name": name,
        "provider_name": provider,
        "change": change,
    }
