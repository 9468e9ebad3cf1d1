"""The messages between runner and job: a fixed sequence (hello, inputs, ready, [go], result), each once; they carry no ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lockgate.contract.intent import Stage
from lockgate.contract.jobplaces import (
    EGRESS_VARIABLE,
    KEYSET_FILE,
    MAX_CHANGES,
    MAX_PLAN_BYTES,
    MAX_PLAN_FILE_BYTES,
    ROOT_KEY_FILE,
    SANDBOX_CREDENTIALS,
    SANDBOX_PLAN,
    SANDBOX_PROVIDERS,
    SANDBOX_ROOT,
    SANDBOX_SCRATCH,
    SANDBOX_SOURCE,
    SANDBOX_STATE,
    SANDBOX_STATE_FILE,
    SANDBOX_TOOL,
    UNSAFE_ROOT_VARIABLE,
    VERSION,
)
from lockgate.contract.state import StateMark

__all__ = [
    "EGRESS_VARIABLE",
    "KEYSET_FILE",
    "MAX_CHANGES",
    "MAX_PLAN_BYTES",
    "MAX_PLAN_FILE_BYTES",
    "ROOT_KEY_FILE",
    "SANDBOX_CREDENTIALS",
    "SANDBOX_PLAN",
    "SANDBOX_PROVIDERS",
    "SANDBOX_ROOT",
    "SANDBOX_SCRATCH",
    "SANDBOX_SOURCE",
    "SANDBOX_STATE",
    "SANDBOX_STATE_FILE",
    "SANDBOX_TOOL",
    "UNSAFE_ROOT_VARIABLE",
    "VERSION",
    "JobInputs",
    "JobResult",
]


@dataclass(frozen=True, slots=True)
class JobInputs:
    """Runner to job. `grant` and `permit` are envelopes as text; `inputs` is the exact text whose SHA-256 the grant or permit names.

    `plan_sha256` (`sha256:` hex; stages derive and apply of exact drivers) names the plan file: the job hashes it and refuses another one.
    """

    stage: Stage
    grant: str
    permit: str | None
    inputs: str
    output_bytes: int
    wall_seconds: int
    plan_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class JobResult:
    """Job to runner: a claim, whatever it says. `changes` are Terraform-format resource changes; `output` a read's answer; `log` bounded text.

    Exact drivers only: `plan_file` is the plan's bytes in base64 (stages plan, check and verify; then `changes` is empty: what they mean is
    derived); `document` is the rest of the tool's JSON (stage derive: all of `show -json` but `resource_changes`, which goes to `changes`);
    `state` is the state's lineage and serial as the stage found or left them.
    """

    status: str
    exit_code: int | None
    changes: tuple[dict[str, Any], ...]
    incomplete: tuple[str, ...]
    provisioners: tuple[str, ...]
    providers: tuple[str, ...]
    output: str
    detail: str
    log: str
    truncated: bool
    plan_file: str = ""
    document: dict[str, Any] | None = None
    state: StateMark | None = None
