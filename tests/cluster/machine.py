"""What the cluster needs of the machine, what it changes on it, and how that is undone; it must change nothing that is not its own."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.cluster.place import ClusterError, Place

PROGRAMS = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
"""Program → the Debian package that brings it."""

PLUGINS = ("ptp", "host-local", "loopback")
PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
PLUGIN_PACKAGE = "containernetworking-plugins"
CGROUPS = Path("/sys/fs/cgroup")
PODS_WEIGHT = {"cpu.shares": 8192, "cpu.weight": 800}
"""All pods together weigh what eight other processes do: they have little to do, and are waited for by who has given them their time."""
BUSY_SECONDS = 60.0
_PAUSE = threading.Event()
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
CAP_SYS_RESOURCE = 24


def plugin_folder() -> Path | None:
    """Where the packaged network plugins are."""
    for folder in PLUGIN_FOLDERS:
        if all((folder / name).is_file() for name in PLUGINS):
            return folder
    return None


def _capable(bit: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> bit & 1)
    return False


def may_lower_oom_score() -> bool:
    """Whether processes here may be protected from the kernel's choice when memory runs out."""
    return _capable(CAP_SYS_RESOURCE)


def require() -> None:
    """Raise ClusterError, naming all that is missing and the one command that brings it, unless a cluster can run here."""
    if os.geteuid() != 0:
        raise ClusterError(
            "a Kubernetes node can only be run by root: start this with sudo, or name a cluster in KUBECONFIG"
        )
    packages = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if plugin_folder() is None:
        packages.add(PLUGIN_PACKAGE)
    if packages:
        raise ClusterError(f"missing: {', '.join(sorted(packages))}; run: tools/setup cluster")
    lacking = [name for name, bit in CAPABILITIES.items() if not _capable(bit)]
    if lacking:
        raise ClusterError(
            f"root here lacks {', '.join(lacking)}: run in a machine, or a container started as privileged"
        )
    if "overlay" not in Path("/proc/filesystems").read_text():
        raise ClusterError("the kernel has no overlay filesystem, which containers are made of: modprobe overlay")
    if not hierarchies():
        raise ClusterError(f"no control groups are mounted below {CGROUPS}")


def make_folders(paths: Iterable[str]) -> list[str]:
    """Make what is not there to mount on, and return it."""
    made = [path for path in paths if not Path(path).exists()]
    for path in made:
        Path(path).mkdir(parents=True)
    return made


def remove_folders(paths: Iterable[str]) -> None:
    """Remove those that are still empty."""
    for path in paths:
        with contextlib.suppress(OSError):
            Path(path).rmdir()


def hierarchies() -> list[Path]:
    """The mounted control group hierarchies: several of version 1, or the one of version 2."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind = line.split()[:3]
        if kind in ("cgroup", "cgroup2") and Path(mounted).is_relative_to(CGROUPS):
            found.append(Path(mounted))
    return found


def make_cgroups(place: Place) -> None:
    """The group that all pods are below, in every hierarchy: the kubelet refuses to make it."""
    for hierarchy in hierarchies():
        group = hierarchy / place.cgroup
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # version 1: a group without both takes no process
            if (hierarchy / name).exists() and not (hierarchy / "cgroup.controllers").exists():
                (group / name).write_text((hierarchy / name).read_text())
        for name, weight in PODS_WEIGHT.items():
            if (group / name).exists():
                (group / name).write_text(str(weight))


def cgroups(place: Place) -> Iterator[Path]:
    """Every control group of the cluster, children before parents."""
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / place.cgroup, topdown=False):
            yield Path(folder)


def remove_cgroups(place: Place) -> None:
    """Remove what holds no process any more; raises ClusterError naming one that still does.

    The kernel counts a process that has ended until it has left its processor for the last time, which is after anybody was told of its end.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    for group in cgroups(place):
        while True:
            try:
                group.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno == errno.EBUSY and time.monotonic() < deadline:
                    _PAUSE.wait(0.05)
                    continue
                raise ClusterError(f"{group}: {error.strerror}; see its cgroup.procs") from None
            break


def has_address(place: Place) -> bool:
    """Whether the node's address is on this machine."""
    shown = subprocess.run(["ip", "-4", "-o", "addr", "show", "dev", "lo"], check=True, capture_output=True, text=True)
    return f" {place.node_ip}/32 " in shown.stdout


def add_address(place: Place) -> None:
    """Put the node's address on the loopback interface."""
    if not has_address(place):
        subprocess.run(["ip", "addr", "add", f"{place.node_ip}/32", "dev", "lo"], check=True)


def remove_address(place: Place) -> None:
    """Take it away again."""
    if has_address(place):
        subprocess.run(["ip", "addr", "del", f"{place.node_ip}/32", "dev", "lo"], check=True)


def set_forwarding(word: str) -> str:
    """Switch the forwarding of packets, which pods live by, and return what was set before."""
    before = FORWARD.read_text().strip()
    if before != word:
        FORWARD.write_text(word)
    return before


def has_table(place: Place) -> bool:
    """Whether the NetworkPolicy agent's table is in force."""
    shown = subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True)
    return f"table inet {place.table}" in shown.stdout.splitlines()


def remove_table(place: Place) -> None:
    """Take its rules out of force."""
    if has_table(place):
        subprocess.run(["nft", "delete", "table", "inet", place.table], check=True)


def routes(place: Place) -> list[str]:
    """The routes to pods."""
    shown = subprocess.run(
        ["ip", "-4", "route", "show", "root", place.pod_range], check=True, capture_output=True, text=True
    )
    return shown.stdout.splitlines()
