"""The messages between runner and job: a fixed sequence (hello, inputs, ready, [go], result), each once; they carry no ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lockgate.contract.intent import Stage

VERSION = 1
SANDBOX_SOURCE = "/work/source"
SANDBOX_SCRATCH = "/work/scratch"
SANDBOX_ROOT = "/lockgate"
SANDBOX_CREDENTIALS = "/run/credentials"
KEYSET_FILE = "/lockgate-trust/keyset.json"
ROOT_KEY_FILE = "/lockgate-trust/root.pub"
"""Where the runner mounts what the job must find: sealed source (read-only), scratch space, job root, credentials, pinned trust."""

UNSAFE_ROOT_VARIABLE = "LOCKGATE_UNSAFE_ROOT"
"""Without a sandbox (dev only) nothing is mounted: this variable names the directory below which the same paths are."""


@dataclass(frozen=True, slots=True)
class JobInputs:
    """Runner to job. `grant` and `permit` are envelopes as text; `inputs` is the exact text whose SHA-256 the grant or permit names."""

    stage: Stage
    grant: str
    permit: str | None
    inputs: str
    output_bytes: int
    wall_seconds: int


@dataclass(frozen=True, slots=True)
class JobResult:
    """Job to runner: a claim, whatever it says. `changes` are Terraform-format resource changes; `output` a read's answer; `log` bounded text."""

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
