"""Ending one sandbox and looking whether it is gone; a proof states only what was seen, never what was hoped."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from lockgate.runner.sandbox import processes
from lockgate.runner.sandbox.cgroups import RunGroup
from lockgate.runner.sandbox.port import TeardownProof
from lockgate.runner.sandbox.processes import Traces
from lockgate.runner.sandbox.rundir import RunDirectory


@dataclass
class ChildProcess:
    """A child of the launcher, held by pidfd so that its number cannot come to mean another process."""

    pid: int
    pidfd: int
    status: int | None = None

    def poll(self) -> bool:
        """Reap it if it ended; True once it did."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status is not None

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.status is None:
            try:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            except ProcessLookupError:
                return


@dataclass
class Remains:
    """All that may be left of one sandbox, live or of a dead launcher, and the means to find it."""

    sandbox_id: str
    group: RunGroup | None = None
    traces: Traces = field(default_factory=Traces)
    children: list[ChildProcess] = field(default_factory=list)
    socket_inodes: frozenset[int] = frozenset()
    namespace_fd: int | None = None
    uid: int | None = None
    egress_inode: int | None = None
    egress_named: bool = False
    """A proxy's socket had a name at some look: the last look, by which it is gone, still has to say so."""

    def kill(self) -> None:
        """SIGKILL everything that bears a trace; may be called any number of times."""
        for child in self.children:
            child.kill()
        for pid in self._found():
            processes.kill(pid)

    def running(self) -> bool:
        """Whether a direct child still has to end."""
        ended = [child.poll() for child in self.children]  # every one is asked, so that every one is reaped
        return not all(ended)

    def release(self) -> None:
        """Close what was kept open to recognise it; the last thing to do."""
        for child in self.children:
            if child.pidfd >= 0:
                os.close(child.pidfd)
                child.pidfd = -1
        if self.namespace_fd is not None:
            os.close(self.namespace_fd)
            self.namespace_fd = None

    def _found(self) -> list[int]:
        found = processes.find(self.traces)
        return found + (self.group.members() if self.group is not None else [])

    def check(self, runs: RunDirectory) -> dict[str, bool]:
        """Every check of a proof. The directory goes last: while something lives, its marker must stay findable."""
        ended = not self.running()
        checks = {"processes": ended and not self._found()}
        checks["cgroup"] = checks["processes"] and (self.group is None or self.group.remove())
        checks["channel"] = ended and not self.socket_inodes & processes.unix_socket_inodes()
        self.egress_named = self.egress_named or os.path.lexists(runs.socket(self.sandbox_id))
        if self.egress_inode is not None or self.egress_named:
            unnamed = runs.remove_socket(self.sandbox_id)
            checks["egress"] = ended and unnamed and self.egress_inode not in processes.unix_socket_inodes()
        checks["mounts"] = not _mounted_below(str(runs.path(self.sandbox_id)))
        checks["directory"] = all(checks.values()) and runs.remove(self.sandbox_id)
        return checks


def _mounted_below(path: str) -> bool:
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as file:
        points = (line.split(" ", 5)[4] for line in file)
        return any(point == path or point.startswith(path + "/") for point in points)


def proof(sandbox_id: str, checks: dict[str, bool], began_at_ms: int, checked_at_ms: int) -> TeardownProof:
    """The proof these checks make; zero checks prove nothing."""
    failed = sorted(name for name, passed in checks.items() if not passed)
    gone = bool(checks) and not failed
    reason = "gone" if gone else f"still there: {', '.join(failed) or 'nothing was checked'}"
    return TeardownProof(sandbox_id, gone, checks, began_at_ms, checked_at_ms, reason)
