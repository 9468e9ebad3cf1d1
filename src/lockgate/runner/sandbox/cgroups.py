"""Control groups of sandboxes, version 2 where delegated, else version 1, else none; it must not pretend a limit that is not set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from lockgate.runner.sandbox.port import SandboxLimits

Version = Literal["v1", "v2"]
_V1_CONTROLLERS: Final = ("memory", "pids", "cpuacct")
_V2_NEEDED: Final = ("memory", "pids")


@dataclass(frozen=True)
class CgroupTree:
    """Where groups can be made: one parent directory per controller (v2: one for all, under ``unified``)."""

    version: Version
    parents: tuple[tuple[str, Path], ...]

    def controllers(self) -> tuple[str, ...]:
        """What can be limited here: memory, processes, cpu."""
        if self.version == "v2":
            return ("memory", "processes", "cpu")
        names = {"memory": "memory", "pids": "processes", "cpuacct": "cpu"}
        return tuple(names[controller] for controller, _ in self.parents)


class RunGroup:
    """The group (v1: groups) of one sandbox. Removing is idempotent."""

    def __init__(self, version: Version, paths: dict[str, Path]) -> None:
        self.version = version
        self.paths = paths

    def apply(self, limits: SandboxLimits) -> None:
        """Set memory and process caps; raises OSError when the kernel refuses one."""
        if self.version == "v2":
            group = self.paths["unified"]
            _put(group / "memory.max", limits.memory_bytes)
            _put_if_there(group / "memory.swap.max", 0)
            _put_if_there(group / "memory.oom.group", 1)
            _put(group / "pids.max", limits.processes)
            return
        if "memory" in self.paths:
            _put(self.paths["memory"] / "memory.limit_in_bytes", limits.memory_bytes)
            _put_if_there(self.paths["memory"] / "memory.memsw.limit_in_bytes", limits.memory_bytes)
        if "pids" in self.paths:
            _put(self.paths["pids"] / "pids.max", limits.processes)

    def attach_self(self) -> None:
        """Move the calling process in; for a child between fork and exec."""
        for path in self.paths.values():
            _put(path / "cgroup.procs", 0)

    def members(self) -> list[int]:
        """Process ids of everything still inside, by any controller."""
        found: set[int] = set()
        for path in self.paths.values():
            try:
                found.update(int(line) for line in (path / "cgroup.procs").read_text().split())
            except FileNotFoundError:
                continue
        return sorted(found)

    def out_of_memory(self) -> bool:
        """Whether the kernel killed something in here for memory."""
        name = "memory.events" if self.version == "v2" else "memory.oom_control"
        path = self.paths.get("unified" if self.version == "v2" else "memory")
        try:
            text = (path / name).read_text() if path is not None else ""
        except FileNotFoundError:
            return False
        return any(line.split()[0] == "oom_kill" and line.split()[1] != "0" for line in text.splitlines())

    def cpu_seconds(self) -> float:
        """CPU time everything in here used so far; 0 where the kernel does not say."""
        try:
            if self.version == "v2":
                text = (self.paths["unified"] / "cpu.stat").read_text()
                return int(text.split("usage_usec", 1)[1].split()[0]) / 1e6
            return int((self.paths["cpuacct"] / "cpuacct.usage").read_text()) / 1e9 if "cpuacct" in self.paths else 0.0
        except (FileNotFoundError, IndexError):
            return 0.0

    def remove(self) -> bool:
        """Remove the directories; True when none is left."""
        for path in self.paths.values():
            try:
                path.rmdir()
            except OSError:
                continue
        return not any(path.exists() for path in self.paths.values())


def make_group(tree: CgroupTree, name: str, limits: SandboxLimits) -> RunGroup:
    """A new group with its limits set; raises OSError, and leaves nothing then."""
    group = RunGroup(tree.version, {controller: parent / name for controller, parent in tree.parents})
    try:
        for path in group.paths.values():
            path.mkdir(mode=0o755)
        group.apply(limits)
    except OSError:
        group.remove()
        raise
    return group


def find_tree(probe_name: str, proc: Path = Path("/proc/self")) -> CgroupTree | None:
    """The best place this process can really make groups in, tried out by making and limiting one; None without any."""
    mounts = _mounts((proc / "mountinfo").read_text())
    own = dict(_own(line) for line in (proc / "cgroup").read_text().splitlines())
    for tree in (_v2(mounts, own), _v1(mounts, own)):
        if tree is not None and _works(tree, probe_name):
            return tree
    return None


def _works(tree: CgroupTree, name: str) -> bool:
    try:
        return make_group(tree, name, SandboxLimits()).remove()
    except OSError:
        return False


def _own(line: str) -> tuple[str, str]:
    _, controllers, path = line.split(":", 2)
    return controllers or "unified", path


def _mounts(mountinfo: str) -> dict[str, tuple[Path, str]]:
    """Controller (or ``unified``) to mount point and the group shown at its root."""
    found: dict[str, tuple[Path, str]] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, point = before.split(" ")[3:5]
        if kind == "cgroup2":
            found.setdefault("unified", (Path(point), root))
        elif kind == "cgroup":
            for controller in options.split(","):
                found.setdefault(controller, (Path(point), root))
    return found


def _place(mount: tuple[Path, str], group: str) -> Path | None:
    point, root = mount
    if root == "/":
        return point / group.lstrip("/")
    if group == root or group.startswith(root.rstrip("/") + "/"):
        return point / group[len(root) :].lstrip("/")
    return point if group == "/" else None


def _v1(mounts: dict[str, tuple[Path, str]], own: dict[str, str]) -> CgroupTree | None:
    groups = {name: path for names, path in own.items() for name in names.split(",")}
    parents: list[tuple[str, Path]] = []
    for controller in _V1_CONTROLLERS:
        place = (
            _place(mounts[controller], groups[controller]) if controller in mounts and controller in groups else None
        )
        if place is not None and os.access(place, os.W_OK):
            parents.append((controller, place))
    return CgroupTree("v1", tuple(parents)) if parents else None


def _v2(mounts: dict[str, tuple[Path, str]], own: dict[str, str]) -> CgroupTree | None:
    if "unified" not in mounts or "unified" not in own:
        return None
    place = _place(mounts["unified"], own["unified"])
    if place is None or not _enable(place):
        return None
    return CgroupTree("v2", (("unified", place),))


def _enable(place: Path) -> bool:
    """Turn the controllers on for children. With processes inside the kernel refuses, unless a delegated group lets us move them."""
    try:
        if not set(_V2_NEEDED) <= set((place / "cgroup.controllers").read_text().split()):
            return False
        if _delegated(place):
            _move_into_leaf(place)
        _put(place / "cgroup.subtree_control", " ".join(f"+{name}" for name in _V2_NEEDED))
    except OSError:
        return False
    return True


def _delegated(place: Path) -> bool:
    """systemd marks a group it gave away (Delegate=yes) with an extended attribute."""
    for attribute in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(place, attribute) == b"1":
                return True
        except OSError:
            continue
    return False


def _move_into_leaf(place: Path) -> None:
    leaf = place / "lockgate-runner"
    leaf.mkdir(mode=0o755, exist_ok=True)
    for pid in (place / "cgroup.procs").read_text().split():
        try:
            _put(leaf / "cgroup.procs", int(pid))
        except ProcessLookupError:
            continue


def _put(path: Path, value: int | str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)


def _put_if_there(path: Path, value: int) -> None:
    if path.exists():
        _put(path, value)
