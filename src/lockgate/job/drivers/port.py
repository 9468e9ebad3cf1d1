"""The port every driver implements; it must not know any driver.

The same four calls carry the drivers to come. OpenTofu: `plan` writes the plan file to `scratch/plan` and names it in its driver's own
result files, a *derive* stage calls `derive` with `plan_file` set and neither source nor credentials, `apply` runs exactly `plan_file`.
Kubernetes and Helm: `plan` renders and dry-runs each object (server-side apply), `changes` has one entry per object, `apply` dry-runs again
and compares; both are read from `credentials` and `inputs.settings`. A driver that needs no derive stage simply lacks the method.
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
    seconds) from `started`. `plan_file` is only set for exact drivers.
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
