"""Where one test cluster lives and what it is called on this machine; pure, so that two of them can stand side by side."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

LONGEST_HOME = 48
"""Characters: the kernel takes 107 for a socket's path, and the kubelet makes its own below the home."""


class ClusterError(Exception):
    """The cluster cannot be had; the message says what happened, why, and what to do."""


@dataclass(frozen=True)
class Place:
    """A cluster's folder and its number, from which every name and address follows; everything of the cluster lies below `home`."""

    home: Path
    number: int = 0

    def __post_init__(self) -> None:
        """Refuse what would fail later without saying why."""
        if not self.home.is_absolute() or len(str(self.home)) > LONGEST_HOME:
            raise ClusterError(
                f"LOCKGATE_CLUSTER={self.home}: must be an absolute path of at most {LONGEST_HOME} characters"
            )

    @property
    def node_ip(self) -> str:
        """The node's address, on the loopback interface: it depends on no network, and pods reach the host by it."""
        return f"172.31.255.{self.number + 1}"

    @property
    def api(self) -> str:
        """The API server's address as a URL."""
        return f"https://{self.node_ip}:6443"

    @property
    def node(self) -> str:
        """The node's name."""
        return f"lockgate-{self.number}"

    @property
    def pod_range(self) -> str:
        """The addresses of pods."""
        return f"10.244.{16 * self.number}.0/20"

    @property
    def service_range(self) -> str:
        """The addresses of services, which nothing answers at: no proxy runs."""
        return f"10.96.{16 * self.number}.0/20"

    @property
    def table(self) -> str:
        """The nftables table of the NetworkPolicy agent."""
        return f"lockgate-cluster-{self.number}"

    @property
    def cgroup(self) -> str:
        """The control group that every pod is below, in each hierarchy."""
        return f"lockgate-cluster-{self.number}"

    @property
    def kubeconfig(self) -> Path:
        """How an administrator reaches the cluster; certificates stand in the file."""
        return self.home / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Every request to the API server, one JSON document a line."""
        return self.home / "logs" / "audit.log"

    @property
    def containerd_socket(self) -> Path:
        """Where the container runtime answers."""
        return self.home / "containerd.sock"

    @property
    def netpol_socket(self) -> Path:
        """Where the network plugin announces a pod before anything of it runs."""
        return self.home / "netpol.sock"

    def log(self, part: str) -> Path:
        """What a part says."""
        return self.home / "logs" / f"{part}.log"


def standing() -> Place:
    """The cluster that `make cluster` starts and that tests share: below LOCKGATE_CLUSTER, else /var/lib/lockgate-cluster."""
    return Place(Path(os.environ.get("LOCKGATE_CLUSTER") or "/var/lib/lockgate-cluster"))
