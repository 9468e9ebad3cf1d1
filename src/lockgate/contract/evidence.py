"""What a runner signs: manifests of stages and receipts of teardown; it must not carry a secret or anything the job could forge unnoticed."""

from __future__ import annotations

from dataclasses import dataclass, field

from lockgate.contract.intent import Phase, Stage
from lockgate.contract.plan import Fidelity, PlanDigests
from lockgate.contract.state import StateMark

MANIFEST_TYPE = "application/vnd.lockgate.manifest.v1+json"
RECEIPT_TYPE = "application/vnd.lockgate.receipt.v1+json"
CHECKPOINT_TYPE = "application/vnd.lockgate.checkpoint.v1+json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The signed head of the audit tree: `size` leaves, `root` as `sha256:` hex; time is Unix ms."""

    deployment: str
    size: int
    root: str
    issued_at: int


@dataclass(frozen=True, slots=True)
class Witness:
    """The highest checkpoint a runner has seen and found consistent with all it saw before."""

    size: int
    root: str


@dataclass(frozen=True, slots=True)
class ToolIdentity:
    """The real tool that ran, by name, version and digest of its files."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """How one stage ended: `ok`, `failed` (the tool said no), `timeout`, `killed`, `incomplete`. `detail` is masked, bounded text.

    `incomplete`: it cannot say. Of an apply, that what it did is in no state: what is planned afterwards shows nothing then.
    """

    status: str
    exit_code: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A runner's signed statement of one stage. `plan` are digests of the canonical plan sent beside it (plan, check, verify stages).

    Exact fidelity: `derived_in` is the sandbox in which the plan file was read, else empty; `providers` the trusted builds it may use, by address and
    version; `state_before` the state the stage began with, `state_after` what an apply left. Of a state the runner keeps both are its own word; of a
    backend's they are what the tool said. None: there is none, or nobody could say.
    """

    version: int
    deployment: str
    dev: bool
    tenant: str
    operation: str
    attempt: str
    fence: int
    phase: Phase
    stage: Stage
    grant_sha256: str
    inputs_sha256: str
    snapshot_sha256: str
    job_sha256: str
    driver: str
    fidelity: Fidelity
    tool: ToolIdentity
    plan: PlanDigests | None
    outcome: StageOutcome
    region: str
    runner: str
    sandbox: str
    ended_ms_ago: int
    witness: Witness | None
    derived_in: str = ""
    providers: dict[str, str] = field(default_factory=dict)
    state_before: StateMark | None = None
    state_after: StateMark | None = None

    @property
    def never_began(self) -> bool:
        """Of an apply: the runner told no sandbox to go. A job that refused had one, and says so itself, which is a claim."""
        return self.stage is Stage.APPLY and not self.sandbox and self.outcome.status == "refused"


@dataclass(frozen=True, slots=True)
class TunnelReceipt:
    """One way out that a sandbox asked its egress proxy for: where to (masked), the address connected to ("" when none was), bytes, outcome.

    `outcome` is `closed`, `cut` (by the stage's end), or one word of why it was refused or ended early. Content is never noted.
    """

    host: str
    port: int
    address: str
    sent: int
    received: int
    outcome: str


@dataclass(frozen=True, slots=True)
class SandboxReceipt:
    """One sandbox's end: every check that was made, by name, and whether it held.

    `tunnels` are all that its egress proxy noted; None when whoever heard the notes died before this was signed. `image` is the digest of the image
    that ran, as whoever ran it said; None where sandboxes have no image, or nobody who heard it is left.
    """

    sandbox: str
    stage: Stage
    torn_down: bool
    checks: dict[str, bool]
    limits_in_force: tuple[str, ...]
    uid_shared: bool
    tunnels: tuple[TunnelReceipt, ...] | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class EnclosureReceipt:
    """The end of what the sandboxes of one attempt shared, such as its namespace: every check that was made, by name, and whether it held."""

    enclosure: str
    torn_down: bool
    checks: dict[str, bool]


@dataclass(frozen=True, slots=True)
class CredentialReceipt:
    """One credential's life: the accessor (never the value) and whether it was revoked."""

    accessor: str
    scope: str
    revoked: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """The teardown receipt of an attempt: what was made is gone, checked. `broker` says who can be held to the write credential.

    `enclosures` is empty where the sandboxes of an attempt share nothing.
    """

    version: int
    deployment: str
    dev: bool
    tenant: str
    operation: str
    attempt: str
    fence: int
    grant_sha256: str
    region: str
    runner: str
    sandbox_class: str
    isolated: bool
    sandboxes: tuple[SandboxReceipt, ...]
    credentials: tuple[CredentialReceipt, ...]
    broker: str
    witness: Witness | None
    enclosures: tuple[EnclosureReceipt, ...] = ()

    @property
    def proven(self) -> bool:
        """True when every sandbox and enclosure was checked to be gone and every credential revoked."""
        torn_down = [box.torn_down for box in self.sandboxes] + [item.torn_down for item in self.enclosures]
        return all(torn_down) and all(item.revoked for item in self.credentials)
