"""Where the runner puts what the job must find, and the version of their channel; it must not import anything: the job reads it before `ready`."""

from __future__ import annotations

VERSION = 2
HELLO = b'{"type":"hello","version":2}'
READY = b'{"type":"ready"}'
"""The job's first two messages, as they are sent: writing them anew would load an encoder."""

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
