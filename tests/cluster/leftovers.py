"""What a cluster that has ended may have left on the machine; it looks where the kernel keeps such things, not at what was written down."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.cluster import machine, parts, processes
from tests.cluster.place import ClusterError, Place
from tests.cluster.processes import KILL_SECONDS, Process


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _mounts_of(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""  # gone, or above this root: not the cluster's


def cluster_processes(place: Place) -> list[Process]:
    """Every process of the cluster but the holder: in a control group of it, in its mount namespace, or told its folder."""
    holder = processes.recorded(place, parts.HOLDER)
    own = _mounts_of(holder.pid) if holder else ""
    found = []
    for pid in _pids():
        if pid == os.getpid() or (holder and pid == holder.pid):
            continue
        grouped = f":/{place.cgroup}/" in _read(pid, "cgroup")
        started = _read(pid, "cmdline").split("\0")
        told = (
            f"{place.home}/" in "\0".join(started)
            and started[0].rpartition("/")[2] in _OWN
            and "kubectl" not in started
        )
        if grouped or told or (own and _mounts_of(pid) == own):
            process = processes.find(pid)
            if process is not None:
                found.append(process)
    return found


_OWN = ("kubernetes", "containerd", "containerd-shim-runc-v2", "kubernetes-pod", "runc")
"""Programs that are the cluster's if they were told its folder; a pager that shows its log is not."""


def kill_processes(place: Place) -> None:
    """End what outlived an orderly stop; raises ClusterError for what survives even that."""
    for process in cluster_processes(place):
        process.signal(signal.SIGKILL)
        if not process.wait_gone(KILL_SECONDS):
            raise ClusterError(f"pid {process.pid} of the cluster survives SIGKILL; see /proc/{process.pid}/stack")


def found(place: Place) -> list[str]:
    """One description for each thing that is left; empty where nothing is."""
    left = [f"process {each.pid} ({_read(each.pid, 'comm').strip()})" for each in cluster_processes(place)]
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    left += [f"mount {mounted}" for mounted in mounts if Path(mounted).is_relative_to(place.home)]
    left += [f"control group {group}" for group in machine.cgroups(place)]
    left += [f"route {route}" for route in machine.routes(place)]
    if machine.has_table(place):
        left.append(f"nftables table {place.table}")
    if machine.has_address(place):
        left.append(f"address {place.node_ip}")
    if place.home.exists():
        left.append(f"folder {place.home}")
    return left
