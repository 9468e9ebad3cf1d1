"""The messages between runner and job: a fixed sequence (hello, inputs, ready, [go], result), each once; they carry no ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lockgate.contract.intent import Stage
from lockgate.contract.state import StateMark

VERSION = 2
SANDBOX_SOURCE = "/work/source"
SANDBOX_SCRATCH = "/work/scratch"
SANDBOX_ROOT = "/lockgate"
SANDBOX_CREDENTIALS = "/run/credentials"
KEYSET_FILE = "/lockgate-trust/keyset.json"
ROOT_KEY_FILE = "/lockgate-trust/root.pub"
"""Where the runner mounts what the job must find: sealed source (read-only), scratch space, job root, credentials, pinned trust."""

SANDBOX_PLAN = "/lockgate-plan/plan"
"""Drivers of exact fidelity: the plan file (read-only; stages derive and apply)."""
SANDBOX_STATE = "/work/state"
"""The directory of a state that the runner keeps, with `terraform.tfstate` in it once there is one: read-only, but for the file itself at apply (it may
be empty then: no state yet). What else is written there is scratch and lost."""
SANDBOX_STATE_FILE = "/work/state/terraform.tfstate"
SANDBOX_TOOL = "/lockgate-tool"
"""The directory that holds a tool which is one program, under the tool's own name (read-only)."""
SANDBOX_PROVIDERS = "/lockgate-providers"
"""The providers of the runner's allow-list and no others, as a Terraform `filesystem_mirror` (read-only)."""

UNSAFE_ROOT_VARIABLE = "LOCKGATE_UNSAFE_ROOT"
"""Without a sandbox (dev only) nothing is mounted: this variable names the directory below which the same paths are."""

EGRESS_VARIABLE = "LOCKGATE_EGRESS_SOCKET"
"""Names the Unix socket of the stage's egress proxy; not set where no network can be reached (TRUST §8)."""

MAX_CHANGES = 10_000
MAX_PLAN_BYTES = 8 << 20
"""The most resources a plan may list, and the most bytes its canonical form may have, and still be decided on."""
MAX_PLAN_FILE_BYTES = 8 << 20
"""The largest plan file that is taken: with everything around it, it must fit one message in base64."""


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
