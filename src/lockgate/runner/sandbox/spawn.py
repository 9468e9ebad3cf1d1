"""From fork to exec of one sandbox: groups, rlimits, the drop to the run's uid, bubblewrap; it runs in the child and must never return."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from lockgate.runner.sandbox import linux
from lockgate.runner.sandbox.cgroups import RunGroup
from lockgate.runner.sandbox.port import SandboxLimits

ERROR_KEY: Final = "lockgate-error"
_BWRAP_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LANG": "C"}
_BWRAP_PROCESSES: Final = 3
_RAISED_OOM_SCORE: Final = b"500"


@dataclass(frozen=True)
class Child:
    """What becomes of the child: it comes with its order, and its descriptors beside it (``standby``)."""

    bwrap: str
    command: tuple[str, ...]
    uid: int | None
    gids: tuple[int, ...]
    group: RunGroup | None
    binds: tuple[Path, ...]
    limits: SandboxLimits
    parent: int

    def to_message(self) -> dict[str, Any]:
        """As JSON; the group is known to the child already."""
        return {
            "bwrap": self.bwrap,
            "command": self.command,
            "uid": self.uid,
            "gids": self.gids,
            "binds": [str(bind) for bind in self.binds],
            "limits": asdict(self.limits),
            "parent": self.parent,
        }

    @classmethod
    def from_message(cls, message: dict[str, Any], group: RunGroup | None) -> Child:
        """The other way. Raises KeyError, TypeError for anything but what `to_message` wrote."""
        return cls(
            bwrap=message["bwrap"],
            command=tuple(message["command"]),
            uid=message["uid"],
            gids=tuple(message["gids"]),
            group=group,
            binds=tuple(map(Path, message["binds"])),
            limits=SandboxLimits(**message["limits"]),
            parent=message["parent"],
        )


@dataclass(frozen=True)
class Numbers:
    """Descriptors: bubblewrap's ``arguments`` (so that none shows in a process list), the job's channel, the status report, and so on."""

    arguments: int
    channel: int
    status: int
    seccomp: int
    output: int
    files: tuple[int, ...]


def enter_group(group: RunGroup | None, parent: int) -> None:
    """What needs no order yet: the control groups, and an end with the launcher. Raises OSError."""
    if group is not None:
        group.attach_self()
    _raise_oom_score()
    linux.die_with_parent(signal.SIGKILL)
    _check_parent(parent)


def exec_sandbox(child: Child, numbers: Numbers, fault: str) -> NoReturn:
    """Become bubblewrap, or write one line of error (``fault``, when entering the group failed) to the status pipe and exit 127."""
    try:
        if fault:
            raise OSError(fault)
        _enter(child, numbers)
        command = [child.bwrap, "--args", str(numbers.arguments), "--", *child.command]
        os.execve(child.bwrap, command, dict(_BWRAP_ENVIRONMENT))  # noqa: S606 - never by a shell
    except (OSError, ValueError) as error:
        os.write(numbers.status, json.dumps({ERROR_KEY: str(error)}).encode() + b"\n")
    finally:
        os._exit(127)


def _enter(child: Child, numbers: Numbers) -> None:
    # What is private here is private by namespace; what lands in a shared directory must be readable by its group's later runs.
    os.umask(0o002 if child.gids else 0o022)
    _standard_streams(numbers.output)
    set_rlimits(child.limits, child.group, own_uid=child.uid is not None)
    drop_to(child.uid, child.gids)
    linux.die_with_parent(signal.SIGKILL)  # again: the drop forgets it; bubblewrap asks once more for itself
    _check_parent(child.parent)
    for bind in child.binds:
        _check_bind(bind)
    for number in (numbers.arguments, numbers.channel, numbers.status, numbers.seccomp, *numbers.files):
        os.set_inheritable(number, True)


def _check_parent(parent: int) -> None:
    if os.getppid() != parent:
        raise OSError("the launcher is gone")


def _standard_streams(output_fd: int) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output_fd, 1)
    os.dup2(output_fd, 2)


def _raise_oom_score() -> None:
    """When the host itself runs out of memory, a sandbox goes before the runner."""
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    os.write(descriptor, _RAISED_OOM_SCORE)
    os.close(descriptor)


def set_rlimits(limits: SandboxLimits, group: RunGroup | None, *, own_uid: bool) -> None:
    """Limits every descendant inherits. Address space and processes only where no control group holds them (see limits_in_force)."""
    held = held_by_group(group)
    caps = {
        resource.RLIMIT_CORE: 1,  # not 0: that lets a kernel pipe cores, secrets and all, to a program of the host (core(5))
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if "memory" not in held:
        caps[resource.RLIMIT_AS] = limits.memory_bytes
    if own_uid:
        caps[resource.RLIMIT_NPROC] = limits.processes + _BWRAP_PROCESSES
    for kind, value in caps.items():
        hard = resource.getrlimit(kind)[1]
        cap = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (cap, cap))


def held_by_group(group: RunGroup | None) -> frozenset[str]:
    """Which of memory, processes, cpu the group holds."""
    if group is None:
        return frozenset()
    if group.version == "v2":
        return frozenset({"memory", "processes", "cpu"})
    names = {"memory": "memory", "pids": "processes", "cpuacct": "cpu"}
    return frozenset(names[controller] for controller in group.paths)


def limits_in_force(group: RunGroup | None, *, own_uid: bool, has_prlimit: bool) -> dict[str, str]:
    """Each limit and what holds it, in words for the receipt; "none" is said, never hidden."""
    held = held_by_group(group)
    version = f"cgroup-{group.version}" if group is not None else ""
    without_group = "rlimit per uid" if own_uid else "rlimit per user namespace" if has_prlimit else "none"
    return {
        "memory": version if "memory" in held else "rlimit per process",
        "processes": version if "processes" in held else without_group,
        "cpu": f"{version} total" if "cpu" in held else "rlimit per process",
        "files": "rlimit",
        "disk": "tmpfs size",
        "inodes": "launcher look",
        "wall": "launcher clock",
        "output": "warden",
    }


def drop_to(uid: int | None, gids: Sequence[int] = ()) -> None:
    """Become ``uid`` (and the equal gid) for good, with ``gids`` as the only extra groups; None when already unprivileged."""
    if uid is None:
        return
    os.setgroups(list(gids))
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _check_bind(source: Path) -> None:
    """As the run's own uid: bubblewrap's own message would not name what to change."""
    try:
        source.stat()
    except OSError as error:
        raise OSError(
            f"binds.source {source}: the sandbox's uid cannot reach it ({error.strerror}); "
            "put it below directories that others may search (chmod o+x), or set the bind's gid"
        ) from None
