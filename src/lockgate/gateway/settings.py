"""The gateway's settings, documented where they are declared; it must not read a key or open a port."""

# ruff: noqa: RUF009  `setting` makes a dataclasses.field, not a value

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lockgate.gateway.policysettings import PolicySettings
from lockgate.gateway.recordsettings import RecordSettings
from lockgate.keys.pki import is_name
from lockgate.keys.tls import TlsFiles
from lockgate.wire.settingsfile import SettingInvalid, load_settings, setting

MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class PublicListener:
    """Where agents and people come in."""

    host: str = setting("Address to listen on.", "127.0.0.1")
    port: int = setting("Port to listen on.", 8400)
    url: str = setting(
        "The URL callers use, without a path. `URL/mcp` is the audience of agents' tokens, `URL/api` that of people's.",
        "http://127.0.0.1:8400",
    )
    certificate: Path | None = setting("PEM certificate chain; with `key`, the listener speaks TLS.", None)
    key: Path | None = setting("PEM key of the certificate, mode 0600.", None)
    behind_tls_proxy: bool = setting(
        "A proxy in front ends TLS. Without it and without a certificate, production listens on loopback only.", False
    )
    allowed_hosts: tuple[str, ...] = setting("Host headers accepted besides the one of `url`.", ())
    allowed_origins: tuple[str, ...] = setting("Origin headers accepted besides the one of `url`.", ())

    def __post_init__(self) -> None:
        _port("port", self.port)
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise SettingInvalid("url", "must be http(s)://host[:port] without a path")
        if (self.certificate is None) != (self.key is None):
            raise SettingInvalid("key", "certificate and key are given together or not at all")

    @property
    def agent_audience(self) -> str:
        """The resource URL of /mcp."""
        return self.url.rstrip("/") + "/mcp"

    @property
    def human_audience(self) -> str:
        """The resource URL of /api."""
        return self.url.rstrip("/") + "/api"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every Host header that is accepted."""
        return (urlsplit(self.url).netloc, *self.allowed_hosts)

    @property
    def origins(self) -> tuple[str, ...]:
        """Every Origin header that is accepted."""
        return (self.url.rstrip("/"), *self.allowed_origins)


@dataclass(frozen=True, slots=True)
class RunnerListener:
    """Where runners come in, over mTLS only."""

    certificate: Path = setting("PEM certificate for `gateway.lockgate.internal`.")
    key: Path = setting("PEM key of the certificate, mode 0600.")
    ca: Path = setting("PEM certificate of the only CA whose runner certificates are accepted.")
    host: str = setting("Address to listen on.", "127.0.0.1")
    port: int = setting("Port to listen on.", 8401)

    def __post_init__(self) -> None:
        _port("port", self.port)

    @property
    def tls(self) -> TlsFiles:
        """The files as `keys.tls.runner_facing_server` takes them."""
        return TlsFiles(self.certificate, self.key, self.ca)


@dataclass(frozen=True, slots=True)
class GatewayKeys:
    """The deployment's trust: the pinned root, the keyset, and the gateway's own private keys (TRUST §1)."""

    root_public: Path = setting("The pinned root key: base64 of 32 bytes.")
    keyset: Path = setting("The signed keyset.")
    grant: Path = setting("PEM key that signs grants and permits, mode 0600.")
    log: Path = setting("PEM key that signs checkpoints, mode 0600.")
    issuer: Path | None = setting("PEM key of the built-in token issuer, mode 0600; without it there is none.", None)


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations, in seconds."""

    operation_deadline: int = setting("An operation that has not ended by then expires.", 24 * 3600)
    lease: int = setting("How long a runner holds an operation without a heartbeat.", 30)
    approval_expiry: int = setting("How long a vote counts where policy names no time.", 8 * 3600)
    reload: float = setting(
        "How often catalog and policy data are looked at for changes; a new keyset needs a restart.", 2.0
    )

    def __post_init__(self) -> None:
        _between("operation_deadline", self.operation_deadline, 60, 31 * 24 * 3600)
        _between("lease", self.lease, 5, 600)
        _between("approval_expiry", self.approval_expiry, 1, 31 * 24 * 3600)
        _between("reload", self.reload, 0.1, 3600)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one caller, and all callers together, may take."""

    max_body_bytes: int = setting("The largest request body that is read.", 1 << 20)
    head_seconds: float = setting("How long the head of a request may take to arrive.", 10.0)
    connections: int = setting(
        "Connections at once on the public listener; the one that has been idle longest makes room. More need more open files (`ulimit -n`).",
        384,
    )
    calls_per_second: float = setting("Calls each principal may make per second in the long run.", 20.0)
    burst: int = setting("Calls each principal may make at once.", 40)
    queued_per_tenant: int = setting("Operations of one tenant that may wait at once.", 1_000)
    running_per_tenant: int = setting("Operations of one tenant that may be with runners at once.", 50)
    store_queue: int = setting("Commands waiting for the store before callers are told to come back.", 2_000)

    def __post_init__(self) -> None:
        _between("max_body_bytes", self.max_body_bytes, 1 << 10, 16 << 20)
        _between("head_seconds", self.head_seconds, 0.5, 60)
        _between("connections", self.connections, 8, 100_000)
        _between("calls_per_second", self.calls_per_second, 0.01, 100_000)
        _between("burst", self.burst, 1, 100_000)
        for name in ("queued_per_tenant", "running_per_tenant", "store_queue"):
            _between(name, getattr(self, name), 1, 1_000_000)


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """What the gateway tells of itself besides its log: never an argument's value, a reason, a token or an output."""

    metrics_port: int | None = setting(
        "Port of a listener of its own for Prometheus (`GET /metrics`, no identity asked); nothing: none, 0: any free one.",
        None,
    )
    metrics_host: str = setting("Address of that listener. Whoever reaches it may read it.", "127.0.0.1")
    otlp_endpoint: str | None = setting(
        "Base URL of an OpenTelemetry collector (OTLP over HTTP) that spans are sent to; nothing: no spans are made.",
        None,
    )
    trace_share: float = setting("The share of calls that are traced, 0 to 1.", 1.0)

    def __post_init__(self) -> None:
        if self.metrics_port is not None:
            _port("metrics_port", self.metrics_port)
        _between("trace_share", self.trace_share, 0, 1)
        if self.otlp_endpoint is not None:
            parts = urlsplit(self.otlp_endpoint)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
                raise SettingInvalid(
                    "otlp_endpoint", "must be http(s)://host[:port][/path]; secrets go into OTEL_EXPORTER_OTLP_HEADERS"
                )


@dataclass(frozen=True, slots=True)
class UnsafeSettings:
    """What exists under the dev stamp only; each is shown on every screen and receipt."""

    no_sandbox: bool = setting("Accept runners that run jobs without a sandbox.", False)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """gateway.yaml. Relative paths are below the file's own directory."""

    deployment: str = setting("The deployment's name; it stands in every key, grant and token.")
    runners: RunnerListener = setting("The runner-facing listener.")
    keys: GatewayKeys = setting("Keys and keyset.")
    dev: bool = setting("A throw-away deployment: stamped on everything, refused by production.", False)
    home: Path = setting("The gateway's own directory.", Path())
    store: Path = setting("The SQLite database.", Path("store.db"))
    catalog: Path = setting("Directory of the catalog's YAML files.", Path("catalog"))
    policy_data: Path = setting(
        "YAML file or directory of policy parameters: for `policy.source: library`, and what `lockgate policy build` takes.",
        Path("policy"),
    )
    policy: PolicySettings = setting("Where policy comes from.", factory=PolicySettings)
    public: PublicListener = setting("The public listener.", factory=PublicListener)
    issuers: tuple[Mapping[str, Any], ...] = setting("Token issuers besides the built-in one; see identity.", ())
    builtin_human_tokens: bool = setting("The built-in issuer may make people's tokens; dev only.", False)
    timing: Timing = setting("Durations.", factory=Timing)
    bounds: Bounds = setting("Limits.", factory=Bounds)
    records: RecordSettings = setting("Records of decisions.", factory=RecordSettings)
    telemetry: TelemetrySettings = setting("Metrics and traces.", factory=TelemetrySettings)
    unsafe: UnsafeSettings = setting("Unsafe choices; dev only.", factory=UnsafeSettings)

    def __post_init__(self) -> None:
        if not is_name(self.deployment):
            raise SettingInvalid("deployment", "must be 1 to 63 of a-z, 0-9, '.', '_', '-'")
        if not self.dev:
            self._check_production()

    def _check_production(self) -> None:
        if self.unsafe.no_sandbox:
            raise SettingInvalid("unsafe.no_sandbox", "exists under `dev: true` only")
        if self.policy.source == "library":
            raise SettingInvalid(
                "policy.source", "policy data that nobody signed exists under `dev: true` only; name a signed bundle"
            )
        if not self.policy.keys:
            raise SettingInvalid("policy.keys", "name the public key that signs your policy bundles")
        if self.builtin_human_tokens:
            raise SettingInvalid(
                "builtin_human_tokens",
                "exists under `dev: true` only; take people's tokens from your identity provider",
            )
        public = self.public
        if public.certificate is None and not public.behind_tls_proxy and not is_loopback(public.host):
            raise SettingInvalid(
                "public.host", "plain HTTP beyond loopback: give certificate and key, or say `behind_tls_proxy: true`"
            )
        if urlsplit(public.url).scheme == "http" and not is_loopback(urlsplit(public.url).hostname or ""):
            raise SettingInvalid("public.url", "must be https: tokens would travel in the clear")

    @property
    def unsafe_flags(self) -> tuple[str, ...]:
        """The names of the unsafe choices made, for screens and receipts."""
        return tuple(name for name in UnsafeSettings.__slots__ if getattr(self.unsafe, name))


def load_gateway_settings(path: Path) -> GatewaySettings:
    """Read gateway.yaml. Raises SettingsError naming file, line and field."""
    return load_settings(path, GatewaySettings)


def is_loopback(host: str) -> bool:
    """Whether a listening address or a URL's host is this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _port(name: str, port: int) -> None:
    if not 0 <= port <= MAX_PORT:
        raise SettingInvalid(name, f"must be 0 to {MAX_PORT}")


def _between(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise SettingInvalid(name, f"must be {least:g} to {most:g}")
