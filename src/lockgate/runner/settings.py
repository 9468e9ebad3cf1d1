"""The runner's own mind (TRUST §3): what its region lets it serve, documented where declared; it must not take a word from the gateway."""

# ruff: noqa: RUF009  `setting` makes a dataclasses.field, not a value

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from lockgate.contract.decision import SANDBOX_ORDER
from lockgate.contract.grant import Limits
from lockgate.keys.pki import RunnerIdentity, is_name
from lockgate.keys.tls import TlsFiles
from lockgate.runner.egress.rules import EgressLimits, RuleInvalid, destination, private_network
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.wire.settingsfile import SettingInvalid, load_settings, setting

SandboxClass = Literal["process", "bubblewrap", "namespace", "gvisor", "kata", "microvm"]
Scope = Literal["none", "read", "write"]
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_H1 = re.compile(r"h1:[A-Za-z0-9+/]{43}=")
_PREFIX = re.compile(r"secret://([a-z0-9][a-z0-9._-]{0,62}/)+")
_REFERENCE = re.compile(r"secret://([a-z0-9][a-z0-9._-]{0,62}/)+[a-z0-9][a-z0-9._-]{0,62}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._:/-]{0,254}@sha256:[0-9a-f]{64}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_CLASS_OF_PROVIDER = {"bubblewrap": "bubblewrap", "kubernetes": "namespace", "unsafe-no-sandbox": "process"}
_MIB = 1 << 20
_MAX_TUNNELS = 512


@dataclass(frozen=True, slots=True)
class MaxLimits:
    """The widest limits any grant for a target may name."""

    memory_bytes: int = setting("Memory of one sandbox.", 1024 * _MIB)
    processes: int = setting("Processes and threads of one sandbox.", 256)
    cpu_seconds: int = setting("CPU time of one sandbox, in seconds.", 600)
    wall_seconds: int = setting("Run time of one sandbox, in seconds.", 900)
    open_files: int = setting("Open files of one process.", 1024)
    file_bytes: int = setting("The largest file a process may write.", 256 * _MIB)
    disk_bytes: int = setting("Size of each scratch file system.", 256 * _MIB)
    output_bytes: int = setting("Output that is kept of one sandbox.", 4 * _MIB)

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise SettingInvalid(name, "must be at least 1")

    @property
    def limits(self) -> Limits:
        """As a grant names them."""
        return Limits(**{name: getattr(self, name) for name in self.__slots__})


@dataclass(frozen=True, slots=True)
class EgressCaps:
    """Caps on the egress proxy of one stage."""

    tunnels: int = setting("Connections to the proxy, refused ones included.", 256)
    at_once: int = setting("Tunnels open at the same time.", 16)
    total_bytes: int = setting("Bytes of all tunnels together, in both directions.", 256 * _MIB)
    tunnel_seconds: int = setting("How long one tunnel may last.", 600)
    handshake_seconds: int = setting("How long each step before a tunnel's first byte may take.", 10)
    half_open_seconds: int = setting("How long a tunnel may go on once one side has ended.", 30)

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise SettingInvalid(name, "must be at least 1")
        if self.tunnels > _MAX_TUNNELS:
            raise SettingInvalid("tunnels", f"must be at most {_MAX_TUNNELS}: every one of them stands in the receipt")

    @property
    def limits(self) -> EgressLimits:
        """As the proxy takes them."""
        return EgressLimits(**{name: getattr(self, name) for name in self.__slots__})


@dataclass(frozen=True, slots=True)
class SharedPath:
    """A host path that stages of a target see."""

    path: Path = setting("The path on this host.")
    target: str = setting("Where it stands inside the sandbox.")
    gid: int | None = setting(
        "The extra group through which the sandbox reaches it; without it, its uid must reach it.", None
    )
    mode: Literal["read", "write"] = setting(
        "`write` is given to the apply stage only; every other stage gets `read`.", "read"
    )

    def __post_init__(self) -> None:
        plain = PurePosixPath(self.target)
        if not plain.is_absolute() or ".." in plain.parts or str(plain) != self.target or self.target == "/":
            raise SettingInvalid("target", "must be a plain absolute path inside the sandbox")
        if self.gid is not None and self.gid < 1:
            raise SettingInvalid("gid", "must be a group other than root's")


@dataclass(frozen=True, slots=True)
class CredentialSettings:
    """Which secrets a target's stages get, as files by name; values are references `secret://prefix/name`."""

    read: dict[str, str] = setting("Files given to plan, check, verify and read stages.", factory=dict)
    write: dict[str, str] = setting("Files given to the apply stage, after its permit.", factory=dict)
    read_is_read_only: bool = setting(
        "Your word that what `read` references give cannot write; without it no stage before apply gets a secret.",
        False,
    )
    prefixes: tuple[str, ...] = setting("What every reference must begin with, as `secret://prefix/`.", ())

    def __post_init__(self) -> None:
        for prefix in self.prefixes:
            if not _PREFIX.fullmatch(prefix):
                raise SettingInvalid("prefixes", f"{prefix[:80]!r}: must be secret://NAME/ and end with a slash")
        if self.read and not self.read_is_read_only:
            raise SettingInvalid(
                "read_is_read_only", "must be true where `read` names secrets: plans run untrusted code with them"
            )
        for scope in ("read", "write"):
            for name, reference in getattr(self, scope).items():
                if not _FILE_NAME.fullmatch(name):
                    raise SettingInvalid(f"{scope}.{name}", "must be a plain file name")
                if not _REFERENCE.fullmatch(reference) or not reference.startswith(self.prefixes):
                    raise SettingInvalid(
                        f"{scope}.{name}", "must be secret://prefix/name under one of this target's prefixes"
                    )


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """What this runner does for one target, at most. What is not named is refused."""

    drivers: tuple[str, ...] = setting("Drivers that may act on it.")
    sources: tuple[str, ...] = setting("Names of `sources` it may be planned from.")
    limits: MaxLimits = setting("The widest limits a grant may name.", factory=MaxLimits)
    paths: tuple[SharedPath, ...] = setting("Host paths its stages see.", ())
    egress: tuple[str, ...] = setting("Network destinations, as host:port, that a grant may name.", ())
    egress_private: tuple[str, ...] = setting(
        "Private ranges, as CIDR, in which a destination's address may lie; without it only public addresses are connected to.",
        (),
    )
    egress_limits: EgressCaps = setting("What one stage may send and receive at most.", factory=EgressCaps)
    credential: CredentialSettings = setting("Its secrets.", factory=CredentialSettings)
    credential_scopes: tuple[Scope, ...] = setting("Credential scopes that a grant may name, besides none.", ())
    keeps_state: bool = setting(
        "This runner, and no other, keeps the target's state (driver `opentofu`, `state: runner`), encrypted below `state_dir`.",
        False,
    )
    min_sandbox: SandboxClass = setting("The least sandbox class; the runner's own floor counts too.", "process")

    def __post_init__(self) -> None:
        if not self.drivers:
            raise SettingInvalid("drivers", "must name at least one driver")
        for index, place in enumerate(self.egress):
            _held(destination, place, f"egress[{index}]")
        for index, network in enumerate(self.egress_private):
            _held(private_network, network, f"egress_private[{index}]")


def _held(check: Callable[[str], object], text: str, field: str) -> None:
    try:
        check(text)
    except RuleInvalid as fault:
        raise SettingInvalid(field, str(fault)) from None


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """How sandboxes are made here."""

    base_dir: Path = setting("The provider's own directory; as root searchable by others (0711).")
    roots_dir: Path | None = setting(
        "Where job roots are kept; runners of one machine may share it, as root searchable by others. Default: `base_dir`.",
        None,
    )
    provider: str = setting("`bubblewrap`, `kubernetes`, or `unsafe-no-sandbox` under dev.", "bubblewrap")
    uid_base: int = setting("As root: the first of the uids that belong to sandboxes only.", 700_000)
    uid_count: int = setting("As root: how many such uids there are; two per live sandbox.", 4096)
    floor: SandboxClass = setting("The least sandbox class for every target.", "bubblewrap")
    image: str | None = setting(
        "Provider `kubernetes`: the image that sandboxes run, by digest, as `name@sha256:…`; no other may run here.",
        None,
    )
    runtime_classes: dict[str, str] = setting(
        "Provider `kubernetes`: the cluster's RuntimeClass of each sandbox class beside `namespace`, as `gvisor: NAME`.",
        factory=dict,
    )
    kubernetes: KubernetesSettings | None = setting("Provider `kubernetes`: the cluster, and the way between.", None)

    @property
    def classes(self) -> tuple[str, ...]:
        """The sandbox classes that can be made here, of contract.decision.SANDBOX_ORDER, the weakest first."""
        plain = _CLASS_OF_PROVIDER[self.provider]
        return plain, *(name for name in SANDBOX_ORDER if name in self.runtime_classes)

    @property
    def sandbox_class(self) -> str:
        """The class in which sandboxes are made where nobody demands a stricter one."""
        return next(name for name in self.classes if SANDBOX_ORDER.index(name) >= SANDBOX_ORDER.index(self.floor))

    def class_for(self, demanded: str) -> str | None:
        """The weakest class made here that is no weaker than `demanded` and the floor; None when there is none."""
        least = max(map(SANDBOX_ORDER.index, (demanded, self.floor)))
        return next((name for name in self.classes if SANDBOX_ORDER.index(name) >= least), None)

    @property
    def image_digest(self) -> str | None:
        """`sha256:` hex of the image; None where sandboxes have none."""
        return self.image.partition("@")[2] if self.image is not None else None

    def __post_init__(self) -> None:
        if self.provider not in _CLASS_OF_PROVIDER:
            raise SettingInvalid("provider", f"must be one of {', '.join(_CLASS_OF_PROVIDER)}")
        self._check_cluster()
        if self.uid_base < 65_536 or self.uid_count < 2:
            raise SettingInvalid(
                "uid_base", "must be at least 65536, and uid_count at least 2: these uids belong to nobody else"
            )
        if SANDBOX_ORDER.index(self.classes[-1]) < SANDBOX_ORDER.index(self.floor):
            raise SettingInvalid("floor", f"the provider {self.provider} is weaker than this floor")

    def _check_cluster(self) -> None:
        """What only sandboxes in a cluster have."""
        if (self.provider == "kubernetes") != (self.image is not None):
            raise SettingInvalid("image", "is needed by the provider `kubernetes`, and by no other")
        if self.image is not None and not _IMAGE.fullmatch(self.image):
            raise SettingInvalid("image", "must name the image by digest, as name@sha256:… (a tag says nothing)")
        if self.runtime_classes and self.provider != "kubernetes":
            raise SettingInvalid("runtime_classes", "belongs to the provider `kubernetes`")
        stricter = SANDBOX_ORDER[SANDBOX_ORDER.index("namespace") + 1 :]
        for name, runtime_class in self.runtime_classes.items():
            if name not in stricter:
                raise SettingInvalid(f"runtime_classes.{name}", f"must be one of {', '.join(stricter)}")
            if not _LABEL.fullmatch(runtime_class):
                raise SettingInvalid(f"runtime_classes.{name}", "must be the name of a RuntimeClass")
        if (self.provider == "kubernetes") != (self.kubernetes is not None):
            raise SettingInvalid("kubernetes", "is needed by the provider `kubernetes`, and by no other")


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """Which builds of a tool are trusted (TRUST §2)."""

    sha256: tuple[str, ...] = setting("Digests, as sha256:…, of builds that may run.", ())
    any: bool = setting("Any build may run; dev only.", False)
    path: Path | None = setting(
        "Where a tool that is one program lies (`opentofu`, `terraform`); it is copied while it is hashed.", None
    )
    version: str = setting("The version of that program, for manifests; its identity is its digest.", "")

    def __post_init__(self) -> None:
        for index, value in enumerate(self.sha256):
            if not _SHA256.fullmatch(value):
                raise SettingInvalid(f"sha256[{index}]", "must be sha256: and 64 hex digits")


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """Which providers the driver `opentofu` may use: a rogue one can lie in derive and acts at apply (TRUST §2)."""

    mirror: Path | None = setting(
        "A `filesystem_mirror` directory: host/namespace/type/version/platform, or zips.", None
    )
    h1: tuple[str, ...] = setting("Digests, as `h1:…` in a `.terraform.lock.hcl`, of packages that may be used.", ())
    any: bool = setting("Every package of the mirror may be used; dev only.", False)

    def __post_init__(self) -> None:
        for index, value in enumerate(self.h1):
            if not _H1.fullmatch(value):
                raise SettingInvalid(f"h1[{index}]", "must be h1: and 44 characters of base64")


@dataclass(frozen=True, slots=True)
class RunnerKeys:
    """The runner's keys and the trust it pins."""

    root_public: Path = setting("The pinned root key: base64 of 32 bytes.")
    keyset: Path = setting("The signed keyset.")
    signing: Path = setting("PEM key that signs manifests and receipts, mode 0600.")
    region: Path = setting("The region's secret (32 bytes, base64), mode 0600; never on the gateway.")
    certificate: Path = setting("PEM client certificate; it says tenant, region and runner.")
    tls_key: Path = setting("PEM key of the certificate, mode 0600.")
    ca: Path = setting("PEM certificate of the only CA whose gateway is believed.")

    @property
    def tls(self) -> TlsFiles:
        """The files as `keys.tls.runner_client` takes them."""
        return TlsFiles(self.certificate, self.tls_key, self.ca)


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """runner.yaml. Relative paths are below the file's own directory."""

    id: str = setting("This runner's name, as in its certificate.")
    deployment: str = setting("The deployment's name.")
    region: str = setting("The region it serves, as in its certificate.")
    gateway: str = setting("URL of the gateway's runner-facing listener: https://host[:port].")
    keys: RunnerKeys = setting("Keys and pinned trust.")
    state_dir: Path = setting("Directory of its journal, mode 0700.")
    sandbox: SandboxSettings = setting("How sandboxes are made.")
    tenant: str = setting("The tenant it serves, as in its certificate.", "default")
    dev: bool = setting("A throw-away deployment.", False)
    max_attempts: int = setting("Attempts run at the same time.", 4)
    plan_hours: int = setting(
        "How long a plan file is kept for its apply; after that the operation must be asked for again.", 168
    )
    sources: dict[str, Path] = setting("Directories that targets are planned from, by name.", factory=dict)
    targets: dict[str, TargetSettings] = setting("The targets this runner serves.", factory=dict)
    tools: dict[str, ToolSettings] = setting("Trusted builds of tools, by tool name.", factory=dict)
    providers: ProviderSettings = setting("Trusted providers of OpenTofu and Terraform.", factory=ProviderSettings)
    broker: str = setting("Credential broker: `none` or `file`.", "none")
    secrets_dir: Path | None = setting("Directory of the `file` broker's secrets, mode 0700.", None)

    def __post_init__(self) -> None:
        for name in ("id", "deployment", "region", "tenant"):
            if not is_name(getattr(self, name)):
                raise SettingInvalid(name, "must be 1 to 63 of a-z, 0-9, '.', '_', '-'")
        if not 1 <= self.max_attempts <= 256:
            raise SettingInvalid("max_attempts", "must be 1 to 256")
        if not 1 <= self.plan_hours <= 24 * 365:
            raise SettingInvalid("plan_hours", "must be 1 to 8760")
        if (self.broker == "file") != (self.secrets_dir is not None):
            raise SettingInvalid("secrets_dir", "is needed by the broker `file`, and by no other")
        for name, target in self.targets.items():
            for source in target.sources:
                if source not in self.sources:
                    raise SettingInvalid(f"targets.{name}.sources", f"{source[:80]!r} is not among `sources`")
        if not self.dev:
            self._check_production()

    def _check_production(self) -> None:
        for name, tool in self.tools.items():
            if tool.any:
                raise SettingInvalid(f"tools.{name}.any", "exists under `dev: true` only; list the builds you trust")
        if self.providers.any:
            raise SettingInvalid("providers.any", "exists under `dev: true` only; list the packages you trust")
        if self.sandbox.sandbox_class == "process":
            raise SettingInvalid("sandbox.provider", "unsafe-no-sandbox exists under `dev: true` only")

    @property
    def identity(self) -> RunnerIdentity:
        """What the client certificate must say."""
        return RunnerIdentity(self.deployment, self.tenant, self.region, self.id)

    @property
    def workspaces(self) -> Path:
        """Where attempts keep their snapshots: below the sandboxes' own directory, which the uids of sandboxes can pass through."""
        return self.sandbox.base_dir / "attempts"

    def tool_allowed(self, name: str, sha256: str) -> bool:
        """Whether a build of a tool (`sha256:…`) may run; one that is not named may not."""
        tool = self.tools.get(name)
        return tool is not None and (sha256 in tool.sha256 or (tool.any and self.dev))


def load_runner_settings(path: Path) -> RunnerSettings:
    """Read runner.yaml. Raises SettingsError naming file, line and field."""
    return load_settings(path, RunnerSettings)
