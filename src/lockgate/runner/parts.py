"""What every attempt of one runner process shares; it must not hold anything of one attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lockgate.contract.dsse import EnvelopeSigner
from lockgate.contract.evidence import Witness
from lockgate.contract.keyset import Keyset
from lockgate.runner.credentials.port import CredentialBroker
from lockgate.runner.journal import Journal
from lockgate.runner.keeping.port import ArtifactStore
from lockgate.runner.keeping.states import StateKeeper
from lockgate.runner.sandbox.port import Sandbox, SandboxCapabilities
from lockgate.runner.sandbox.runtime_root import JobRoot
from lockgate.runner.settings import RunnerSettings
from lockgate.runner.toolbox import Toolbox
from lockgate.wire.client import GatewayClient


@dataclass(frozen=True, slots=True)
class Trust:
    """What this runner pins and shows its jobs: the keyset (verified, and its envelope) under the root key (base64 text)."""

    keyset: Keyset
    keyset_envelope: bytes
    root_public: bytes


@dataclass(slots=True)
class Parts:
    """One runner process. `clock` is CLOCK_BOOTTIME in ms (it counts suspend, TRUST §3); `random` gives n random bytes."""

    settings: RunnerSettings
    trust: Trust
    gateway: GatewayClient
    sandbox: Sandbox
    capabilities: SandboxCapabilities
    broker: CredentialBroker
    job_root: JobRoot
    journal: Journal
    signer: EnvelopeSigner
    region_secret: bytes
    toolbox: Toolbox
    artifacts: ArtifactStore
    states: StateKeeper
    clock: Callable[[], int]
    random: Callable[[int], bytes]

    @property
    def witness(self) -> Witness | None:
        """The highest checkpoint this runner has seen and found consistent."""
        return self.journal.witness
