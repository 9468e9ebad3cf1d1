"""What the figures are measured on: processor, disk, CPU clocks of other processes; it must not guess what it cannot read."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs", "devtmpfs"})


class NoDisk(RuntimeError):
    """The directory lies in memory, where a commit costs nothing and proves nothing; give one on a disk with --dir."""


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a path lies: file system type and device."""

    kind: str
    device: str


def mount_of(path: Path) -> Mount:
    """The mount that holds `path`, by the longest mount point."""
    best, found = "", Mount("unknown", "unknown")
    real = str(path.resolve()) + "/"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, point, kind, *_ = line.split(" ")
        if real.startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, found = point, Mount(kind, device)
    return found


def require_disk(path: Path) -> Mount:
    """The mount of a directory that is no memory. Raises NoDisk."""
    mount = mount_of(path)
    if mount.kind in MEMORY_FILE_SYSTEMS:
        raise NoDisk(f"{path} is on {mount.kind}: a store in memory proves nothing; give a directory on a disk: --dir")
    return mount


def describe(mount: Mount) -> dict[str, str]:
    """The machine in a few words."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return {
        "processor": (model[1] if model else platform.machine()) + f", {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "disk": f"{mount.kind} on {mount.device}",
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def cpu_seconds(pid: int) -> float:
    """CPU a process and its threads have used, in nanoseconds' resolution (clock_getcpuclockid, CPUCLOCK_SCHED)."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_bytes(pid: int) -> int:
    """The resident set of a process."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    if found is None:
        raise RuntimeError(f"/proc/{pid}/status names no VmRSS")
    return int(found[1]) * 1024


class SyncCount:
    """Counts a process's fsync and fdatasync calls by strace; `count` is None where there is no strace. It slows the process: never while timing."""

    def __init__(self, pid: int, place: Path) -> None:
        self._out = place
        self._pid = pid
        self._strace: subprocess.Popen[bytes] | None = None
        self.count: int | None = None

    def __enter__(self) -> SyncCount:
        if shutil.which("strace"):
            command = ["strace", "-f", "-q", "-e", "trace=fsync,fdatasync", "-o", str(self._out), "-p", str(self._pid)]
            self._strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            deadline = time.monotonic() + 10
            while not self._attached() and time.monotonic() < deadline and self._strace.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._strace.wait(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        if self._strace is not None:
            attached = self._attached()
            self._strace.terminate()
            self._strace.wait()
            if attached and self._out.exists():
                self.count = len(re.findall(r"\b(?:fsync|fdatasync)\(", self._out.read_text(errors="replace")))

    def _attached(self) -> bool:
        tracers = [
            re.search(r"^TracerPid:\s+(\d+)$", (task / "status").read_text(), re.M)
            for task in Path(f"/proc/{self._pid}/task").iterdir()
        ]
        return all(found is not None and found[1] != "0" for found in tracers)
