"""The ``Sandbox`` port: what the runner may ask of any sandbox provider; no provider's detail belongs here (TRUST §2, §3, §8)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from lockgate.runner.egress.rules import EgressRules
from lockgate.runner.egress.tunnels import TunnelNote

CHANNEL_FD_VARIABLE = "LOCKGATE_CHANNEL_FD"
"""Inside the sandbox, the environment variable that names the channel's file descriptor."""

EGRESS_VARIABLE = "LOCKGATE_EGRESS_SOCKET"
"""Inside a sandbox with egress, the environment variable that names the Unix socket of its proxy; elsewhere it is not set."""

JobFault = Literal["oversize", "malformed", "out_of_sequence", "eof"]
NetworkFault = Literal[
    "no_ticket", "wrong_ticket", "wrong_peer", "wrong_pod", "second_connection", "unconfined", "not_placed", "slow"
]
"""What ends a channel over a network before the job has said a word, or beside it."""
ChannelFault = JobFault | NetworkFault
ExitCause = Literal["exit", "signal", "wall", "cpu", "oom", "disk", "channel", "destroyed", "lost"]


class SandboxUnavailable(RuntimeError):
    """No sandbox can be made here; the message says why and names the one thing to do."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(f"{reason}. Fix: {fix}" if fix else reason)
        self.reason = reason
        self.fix = fix


class SpecRefused(ValueError):
    """This specification cannot be run; the message names the field and what to change."""


class ChannelError(Exception):
    """The job, or what came in its place, broke the channel's rules or ended; ``kind`` says how. The run is over."""

    def __init__(self, kind: ChannelFault, detail: str = "") -> None:
        super().__init__(f"job channel: {kind}" + (f" ({detail})" if detail else ""))
        self.kind: ChannelFault = kind
        self.detail = detail


@dataclass(frozen=True)
class Bind:
    """A host path shown at ``target``; the sandbox's own uid (or ``gid``, an extra group, when set) must be able to reach it.

    ``owned``: a file of the runner's own that is given to the sandbox's uid first, where it has one. ``contents``: of files of a directory, by their
    path in it, the SHA-256 (hex) that the runner holds them to; who has such a file need not be shown this one.
    """

    source: Path
    target: str
    writable: bool = False
    gid: int | None = None
    owned: bool = False
    contents: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class InjectedFile:
    """A small read-only file that exists in memory only; ``content`` is kept out of every representation."""

    target: str
    content: bytes = field(repr=False)
    mode: int = 0o400


@dataclass(frozen=True)
class SandboxLimits:
    """Caps on one sandbox: bytes, counts and seconds. ``disk_bytes`` is the size of each of /tmp, /work and /dev/shm,
    ``inodes`` how many files they may hold together: empty ones cost the kernel memory that no size counts."""

    memory_bytes: int = 512 * 1024 * 1024
    processes: int = 128
    cpu_seconds: int = 120
    wall_seconds: float = 300.0
    open_files: int = 1024
    file_bytes: int = 64 * 1024 * 1024
    disk_bytes: int = 64 * 1024 * 1024
    output_bytes: int = 1024 * 1024
    inodes: int = 100_000


@dataclass(frozen=True)
class SandboxSpec:
    """One stage to run. ``id`` is random hex of 16 to 64 characters chosen by the caller; ``env`` is no place for secrets.

    ``sandbox_class`` is the least of contract.decision.SANDBOX_ORDER that will do; a provider of several takes the one of that name.
    Without ``egress`` no network can be reached. With it the provider gives the stage a proxy of its own that holds to these rules, and
    TCP to its own loopback, by which tools find it. ``enclosure``: 32 hexadecimal characters, the same for every stage of one attempt; a
    provider that puts an attempt's sandboxes into something of their own (a namespace) names it so, others pay no heed.
    """

    id: str
    stage: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    binds: tuple[Bind, ...] = ()
    files: tuple[InjectedFile, ...] = ()
    limits: SandboxLimits = SandboxLimits()
    egress: EgressRules | None = None
    enclosure: str = ""
    sandbox_class: str = ""


@dataclass(frozen=True)
class SandboxCapabilities:
    """What the provider can promise here; ``limits`` maps each limit to the mechanism that would hold it.

    ``copies``: what a sandbox is shown are copies made for it; it may spoil its own, nobody else sees that, and no directory of the host can be
    shown for writing. ``shows``: what of its machine a job can read all the same.
    """

    provider: str
    isolated: bool
    uid_shared: bool
    limits: Mapping[str, str]
    version: str = ""
    notes: tuple[str, ...] = ()
    copies: bool = False
    shows: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExitReport:
    """How the sandbox ended. ``output_tail`` is the end of its output, raw and untrusted; ``output_bytes`` counts all of it; ``reason`` is what whoever
    ran it says beside the cause."""

    cause: ExitCause
    exit_code: int | None = None
    signal: int | None = None
    output_tail: bytes = b""
    output_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True)
class TeardownProof:
    """Whether a sandbox is gone, each check by name, and when (milliseconds of CLOCK_BOOTTIME). Never assumed, always looked at."""

    sandbox_id: str
    torn_down: bool
    checks: Mapping[str, bool]
    began_at_ms: int
    checked_at_ms: int
    reason: str


class SandboxChannel(Protocol):
    """The runner's end of the job channel; the sequence of message types is fixed (TRUST §3)."""

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send ``inputs`` or ``go``; raises ChannelError when it is not their turn or the job is gone."""

    async def receive(self) -> dict[str, Any]:
        """The next message of the job; raises ChannelError when the job breaks a rule or ends first."""

    async def close(self) -> None:
        """Say no more; idempotent."""


class RunningSandbox(Protocol):
    """A started sandbox."""

    @property
    def id(self) -> str:
        """The id its specification gave."""

    @property
    def channel(self) -> SandboxChannel:
        """The job's channel."""

    @property
    def limits_in_force(self) -> Mapping[str, str]:
        """Each limit and the mechanism that holds it, for the receipt."""

    @property
    def uid_shared(self) -> bool:
        """True when the sandbox runs as the runner's own uid."""

    @property
    def tunnels(self) -> tuple[TunnelNote, ...]:
        """What its proxy was asked for and did; whole once the sandbox was destroyed."""

    @property
    def image(self) -> str | None:
        """The digest (``sha256:`` hex) of the image that runs, as whoever runs it says; None where sandboxes have none."""

    async def wait(self) -> ExitReport:
        """Wait for the end; the caller still owes a ``destroy``."""


class Sandbox(Protocol):
    """Makes and destroys sandboxes. Every method may be called at any time; ``destroy`` any number of times."""

    name: str

    async def probe(self) -> SandboxCapabilities:
        """Run ``true`` in the very profile; raises SandboxUnavailable with the fix."""

    async def start(self, spec: SandboxSpec) -> RunningSandbox:
        """Start one stage; raises SpecRefused, SandboxUnavailable. A failed start leaves nothing."""

    def foresee(self, enclosure: str, following: SandboxSpec | None) -> bool:
        """Told before a stage is destroyed: what the next one of its enclosure will be like, or None when none follows. True where it is prepared from now on.

        A sandbox of that id may be made then, and owes a ``destroy``. It is given nothing before its ``start``: what a foreseen specification holds as binds
        and files counts for room alone.
        """

    async def destroy(self, sandbox_id: str) -> TeardownProof:
        """End and remove the sandbox whatever its state, then look whether it is gone."""

    async def release(self, enclosure: str) -> TeardownProof | None:
        """Remove what the sandboxes of this enclosure shared, and those that are left in it, then look. None where nothing is ever made for it.

        After the last stage, whatever happened before; any number of times. Raises SandboxUnavailable; then nothing is proven.
        """

    async def reap(self, keep: Collection[str]) -> list[TeardownProof]:
        """Destroy every sandbox of this provider's directory that is not in ``keep``, also those of a dead runner."""

    async def patrol(self) -> None:
        """Until cancelled, remove what other, dead runners left where this provider's sandboxes live; returns at once where nobody else's can."""

    async def close(self) -> None:
        """Destroy what is left and stop; idempotent."""
