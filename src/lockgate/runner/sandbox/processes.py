"""What /proc says about processes: who lives in a namespace, a session, a uid; it must never end a process it was not shown."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Traces:
    """By what the processes of one sandbox can be recognised; zero or empty means not known.

    ``pid_namespace`` is an inode number and MUST only be given while a descriptor keeps that namespace from being reused;
    ``init`` (pid, start time) names one process for this boot and is safe without.
    """

    pid_namespace: int = 0
    session: int = 0
    uids: tuple[int, ...] = ()
    init: tuple[int, int] = (0, 0)


def find(traces: Traces) -> list[int]:
    """Every live process that bears one of ``traces``, zombies aside; one pass over /proc."""
    found: list[int] = []
    namespace = f"pid:[{traces.pid_namespace}]"
    for name in os.listdir("/proc"):  # noqa: PTH208 - hot: one string per process
        if not name.isdigit():
            continue
        try:
            if _bears(name, traces, namespace) and not _is_zombie(name):
                found.append(int(name))
        except OSError:  # it ended meanwhile, or belongs to somebody whose namespaces we may not see
            continue
    return found


def _bears(name: str, traces: Traces, namespace: str) -> bool:
    if int(name) == traces.init[0] and started(int(name)) == traces.init[1]:
        return True
    if traces.uids and _has_uid(name, traces.uids, thorough=traces.pid_namespace == 0):
        return True
    if traces.session and int(_fields(name)[3]) == traces.session:
        return True
    return traces.pid_namespace != 0 and _namespace(name) == namespace


def _namespace(name: str) -> str:
    """Of a process whose first thread has ended while others run, only those others tell."""
    try:
        return os.readlink(f"/proc/{name}/ns/pid")  # noqa: PTH115
    except FileNotFoundError:
        for task in os.listdir(f"/proc/{name}/task"):  # noqa: PTH208
            if task != name:
                return os.readlink(f"/proc/{name}/task/{task}/ns/pid")  # noqa: PTH115
        raise


def _has_uid(name: str, uids: tuple[int, ...], *, thorough: bool) -> bool:
    """The directory's owner is the uid, or root when the process is undumpable; only the slower file tells then.

    Where the PID namespace is known it catches the undumpable ones, as nothing but the launcher's own children lives outside it.
    """
    owner = os.stat(f"/proc/{name}").st_uid  # noqa: PTH116
    if owner in uids:
        return True
    if owner != 0 or not thorough:
        return False
    return int(Path(f"/proc/{name}/status").read_bytes().split(b"\nUid:", 1)[1].split(None, 1)[0]) in uids


def _fields(name: str) -> list[bytes]:
    return Path(f"/proc/{name}/stat").read_bytes().rsplit(b")", 1)[1].split()


def started(pid: int) -> int:
    """When the process started, in clock ticks since boot; raises OSError when it is gone."""
    return int(_fields(str(pid))[19])


def _is_zombie(name: str) -> bool:
    """Ended, every thread of it: a process looks like a zombie as soon as its first thread has ended."""
    fields = _fields(name)
    return fields[0] in (b"Z", b"X") and int(fields[17]) <= 1


def with_environment(text: str) -> list[int]:
    """Processes of this user whose environment at their start held ``text``."""
    found: list[int] = []
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        try:
            if text.encode() in Path(f"/proc/{name}/environ").read_bytes() and not _is_zombie(name):
                found.append(int(name))
        except OSError:
            continue
    return found


def kill(pid: int) -> None:
    """SIGKILL, and no complaint when it is gone already; raises PermissionError when it is not ours."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def unix_socket_inodes() -> set[int]:
    """Inodes of every Unix socket in this network namespace."""
    return {int(line.split()[6]) for line in Path("/proc/net/unix").read_bytes().splitlines()[1:]}
