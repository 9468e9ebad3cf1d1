"""Where everything of a one-machine deployment lies; it must not touch a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FALLBACK_SANDBOXES: Final = Path("/var/lib/lockgate")
RELEASE: Final = "release"
"""The key id of the first release key."""


@dataclass(frozen=True, slots=True)
class Names:
    """Who this deployment and its one runner are."""

    deployment: str
    tenant: str = "default"
    region: str = "local"
    runner: str = "runner-1"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the gateway listens on loopback: for callers and for runners."""

    public: int = 8400
    runners: int = 8401


@dataclass(frozen=True, slots=True)
class Samples:
    """What a command adds: `files` by path below home (`catalog/web.yaml`), and sections of runner.yaml and gateway.yaml."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    runner: Mapping[str, Any] = field(default_factory=dict)
    gateway: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layout:
    """Every path of a deployment below `home`; `created`, `kept` and `advice` say what one run of `bootstrap` did and what is left to do."""

    home: Path
    sandbox_base: Path
    created: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def gateway_settings(self) -> Path:
        """gateway.yaml."""
        return self.home / "gateway.yaml"

    @property
    def runner_settings(self) -> Path:
        """runner.yaml."""
        return self.home / "runner.yaml"

    @property
    def catalog(self) -> Path:
        """Directory of the catalog."""
        return self.home / "catalog"

    @property
    def policy_data(self) -> Path:
        """Directory of policy parameters."""
        return self.home / "policy"

    @property
    def trust(self) -> Path:
        """Directory of what everybody pins; public."""
        return self.home / "trust"

    @property
    def root_public(self) -> Path:
        """The pinned root key."""
        return self.trust / "root.pub"

    @property
    def keyset(self) -> Path:
        """The signed keyset."""
        return self.trust / "keyset.json"

    @property
    def ca_certificate(self) -> Path:
        """The certificate of the runner CA."""
        return self.trust / "runner-ca.pem"

    @property
    def offline(self) -> Path:
        """Directory of the root key and the CA key, to be moved off the gateway in production."""
        return self.home / "root"

    @property
    def root_key(self) -> Path:
        """The root key, which signs keysets."""
        return self.offline / "root.pem"

    @property
    def release_key(self) -> Path:
        """Signs policy bundles in production; gateways never have it."""
        return self.offline / "policy-release.pem"

    @property
    def release_public(self) -> Path:
        """The public half of `release_key`, which gateways pin."""
        return self.trust / "policy-release.pub"

    @property
    def policy_bundle(self) -> Path:
        """The signed bundle that a production gateway takes its policy from."""
        return self.policy_data / "bundle.tar.gz"

    @property
    def ca(self) -> Path:
        """Key and certificate of the runner CA in one file."""
        return self.offline / "runner-ca.pem"

    @property
    def gateway_keys(self) -> Path:
        """Directory of the gateway's private keys."""
        return self.home / "keys" / "gateway"

    @property
    def runner_keys(self) -> Path:
        """Directory of the runner's private keys."""
        return self.home / "keys" / "runner"

    @property
    def grant_key(self) -> Path:
        """Signs grants and permits."""
        return self.gateway_keys / "grant.pem"

    @property
    def log_key(self) -> Path:
        """Signs checkpoints."""
        return self.gateway_keys / "log.pem"

    @property
    def issuer_key(self) -> Path:
        """Signs tokens."""
        return self.gateway_keys / "issuer.pem"

    @property
    def gateway_tls(self) -> Path:
        """Key and certificate of the runner-facing listener in one file."""
        return self.gateway_keys / "tls.pem"

    @property
    def runner_key(self) -> Path:
        """Signs manifests and receipts."""
        return self.runner_keys / "signing.pem"

    @property
    def region_key(self) -> Path:
        """The region's secret."""
        return self.runner_keys / "region.key"

    @property
    def runner_tls(self) -> Path:
        """Key and certificate of the runner in one file."""
        return self.runner_keys / "tls.pem"

    @property
    def store(self) -> Path:
        """The gateway's database."""
        return self.home / "state" / "gateway" / "store.db"

    @property
    def runner_state(self) -> Path:
        """Directory of the runner's journal."""
        return self.home / "state" / "runner"

    @property
    def private_directories(self) -> tuple[Path, ...]:
        """Directories that only their owner enters."""
        return (
            self.offline,
            self.gateway_keys.parent,
            self.gateway_keys,
            self.runner_keys,
            self.store.parent.parent,
            self.store.parent,
            self.runner_state,
        )

    @property
    def public_directories(self) -> tuple[Path, ...]:
        """Directories without secrets."""
        return (self.trust, self.catalog, self.policy_data)


def fallback_base(home: Path) -> Path:
    """Where sandboxes of a home lie that the sandboxes' uids cannot reach."""
    return FALLBACK_SANDBOXES / hashlib.sha256(str(home).encode()).hexdigest()[:16]
