"""One live sandbox as its launcher sees it: made, watched against its limits, and its end told; it never reads job bytes."""

from __future__ import annotations

import json
import os
import signal
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lockgate.runner.egress.rules import EgressRules
from lockgate.runner.egress.spawn import bound_socket, fork_into_proxy
from lockgate.runner.sandbox import linux, processes, seccomp
from lockgate.runner.sandbox.cgroups import CgroupTree, RunGroup
from lockgate.runner.sandbox.port import ExitCause, SandboxSpec
from lockgate.runner.sandbox.processes import Traces
from lockgate.runner.sandbox.profile import SCRATCH, HostLayout, ProfileDescriptors, bwrap_arguments
from lockgate.runner.sandbox.rundir import Marker, RunDirectory
from lockgate.runner.sandbox.spawn import ERROR_KEY, Child, limits_in_force
from lockgate.runner.sandbox.standby import Bench, Standby, descriptor, file_descriptors, memory_file
from lockgate.runner.sandbox.teardown import ChildProcess, Remains
from lockgate.runner.sandbox.uids import UidPair
from lockgate.runner.sandbox.warden import become_warden

_PRLIMIT: Final = "/usr/bin/prlimit"
_MAX_STATUS_BYTES: Final = 4096


@dataclass(frozen=True)
class Place:
    """What one launcher makes all its sandboxes with."""

    bwrap: str
    machine: str
    host: HostLayout
    runs: RunDirectory
    boot: str
    tag: str
    tree: CgroupTree | None
    bench: Bench

    def group_name(self, random_id: str) -> str:
        """A control group's name, made before its sandbox is known; ``tag`` is of the launcher's directory, so that no runner reaps another's."""
        return f"lockgate-{self.tag}-{random_id}"

    def has_prlimit(self) -> bool:
        """Whether processes can be capped per user namespace without a control group."""
        return os.access(_PRLIMIT, os.X_OK)


class LiveSandbox:
    """From fork to exit. ``remains`` is what a teardown needs; ``cause`` is set once, by whoever ends it first."""

    def __init__(self, spec: SandboxSpec, place: Place, uids: UidPair | None, start_seq: int) -> None:
        self.spec = spec
        self.start_seq: int | None = start_seq
        self.cause: ExitCause | None = None
        self.error = ""
        self.told = False
        self.failed = False
        self.deadline_ms = linux.boottime_ms() + int(spec.limits.wall_seconds * 1000)
        self._place = place
        self._uids = uids
        self._status = b""
        self.status_fd = -1
        self.exit_code: int | None = None
        self.warden: ChildProcess | None = None
        self.bwrap: ChildProcess | None = None
        self.egress: ChildProcess | None = None
        own = (uids.run, uids.warden) if uids is not None else ()
        self.remains = Remains(spec.id, traces=Traces(uids=own), uid=uids.run if uids is not None else None)
        self._marker = Marker(spec.id, place.boot, self.remains.uid)

    @property
    def group(self) -> RunGroup | None:
        """The control group, if any."""
        return self.remains.group

    def limits_in_force(self) -> dict[str, str]:
        """For the receipt."""
        return limits_in_force(self.group, own_uid=self._uids is not None, has_prlimit=self._place.has_prlimit())

    def launch(self, standby: Standby, link_fd: int, file_fds: list[int]) -> None:
        """Give the standby its order and make proxy and warden beside it; raises OSError. Whatever was made by then is in ``remains``.

        ``file_fds``: the injected files in order, then the egress proxy's link where there is one.
        """
        place, spec = self._place, self.spec
        self.remains.group = standby.group
        self.bwrap = standby.process
        self.remains.children.append(standby.process)
        if standby.group is not None:
            self._marker.cgroup_version = standby.group.version
            self._marker.cgroups = {name: str(path) for name, path in standby.group.paths.items()}
        place.runs.write(self._marker)
        if standby.group is not None:
            standby.group.apply(spec.limits)
        if spec.egress is not None:
            self._start_egress(spec.egress, file_fds[-1])
            file_fds = file_fds[:-1]
        job_side, warden_side = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.remains.socket_inodes = frozenset(os.fstat(sock.fileno()).st_ino for sock in (job_side, warden_side))
        output_read, output_write = os.pipe()
        self.status_fd, status_write = os.pipe()
        link = socket.socket(fileno=os.dup(link_fd))
        try:
            # First the sandbox, which takes longest; until there is a warden nobody reads what it says.
            given = {"channel": job_side.fileno(), "status": status_write, "output": output_write}
            self._order_bwrap(standby, given, file_fds)
            self.warden = self._fork_warden(warden_side, link, output_read)
        finally:
            for sock in (job_side, warden_side, link):
                sock.close()
            for descriptor in (output_read, output_write, status_write):
                os.close(descriptor)
        os.set_blocking(self.status_fd, False)

    def _child(self, pid: int) -> ChildProcess:
        child = ChildProcess(pid, os.pidfd_open(pid))
        self.remains.children.append(child)
        return child

    def _start_egress(self, rules: EgressRules, link_fd: int) -> None:
        """Bound and listening before anybody can look for it; only the run's own uid may connect."""
        uids, place = self._uids, self._place.runs.socket(self.spec.id)
        listener = bound_socket(place, uids.run if uids is not None else None)
        link = socket.socket(fileno=os.dup(link_fd))
        try:
            self.remains.egress_inode = os.fstat(listener.fileno()).st_ino
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                fork_into_proxy(rules, listener, link, uids.warden if uids is not None else None, parent)
            self.egress = self._child(pid)
        finally:
            listener.close()
            link.close()

    def end_egress(self) -> None:
        """Nobody will use it: a start failed."""
        if self.egress is not None:
            self.egress.kill()

    def _fork_warden(self, job: socket.socket, link: socket.socket, output_fd: int) -> ChildProcess:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            uid = self._uids.warden if self._uids is not None else None
            become_warden(self.spec.stage, job, link, output_fd, uid, parent)
        return self._child(pid)

    def _order_bwrap(self, standby: Standby, given: dict[str, int], files: list[int]) -> None:
        inside = file_descriptors(len(files))
        way_out = self._place.runs.socket(self.spec.id) if self.egress is not None else None
        for bind in self.spec.binds:
            if bind.owned and self._uids is not None:
                os.chown(bind.source, self._uids.run, self._uids.run, follow_symlinks=False)
        profile = ProfileDescriptors(
            descriptor("channel"), descriptor("status"), descriptor("seccomp"), inside, way_out
        )
        arguments = bwrap_arguments(self.spec, self._place.host, profile)
        child = Child(
            bwrap=self._place.bwrap,
            command=self._command(),
            uid=self._uids.run if self._uids is not None else None,
            gids=tuple(sorted({bind.gid for bind in self.spec.binds if bind.gid is not None})),
            group=self.group,
            binds=tuple(bind.source for bind in self.spec.binds),
            limits=self.spec.limits,
            parent=os.getpid(),
        )
        made = {
            "seccomp": memory_file(
                "seccomp", seccomp.job_filter(self._place.machine, loopback=self.egress is not None)
            ),
            "arguments": memory_file("arguments", b"".join(text.encode() + b"\0" for text in arguments)),
        }
        try:
            standby.order(child, given | made, files)
        finally:
            for number in made.values():
                os.close(number)

    def _command(self) -> tuple[str, ...]:
        """Without a group and a uid of its own, a process cap set inside counts this sandbox's user namespace alone."""
        held = self.limits_in_force()["processes"]
        if held != "rlimit per user namespace":
            return self.spec.argv
        cap = str(self.spec.limits.processes)
        return (_PRLIMIT, f"--nproc={cap}:{cap}", "--", *self.spec.argv)

    def read_status(self) -> dict[str, Any] | None:
        """What bubblewrap (or the child before it) says, once: the answer to the start, {} when it said nothing; None to wait."""
        try:
            data = os.read(self.status_fd, _MAX_STATUS_BYTES)
        except BlockingIOError:
            return None
        self._status = (self._status + data)[:_MAX_STATUS_BYTES]
        answer: dict[str, Any] | None = None
        while b"\n" in self._status:
            line, _, self._status = self._status.partition(b"\n")
            said = _object(line)
            if "child-pid" in said:
                self._identify(int(said["child-pid"]), int(said.get("pid-namespace", 0)))
                answer = said
            elif "exit-code" in said:
                self.exit_code = int(said["exit-code"])
            elif ERROR_KEY in said:
                self.error = str(said[ERROR_KEY])
        if not data:
            os.close(self.status_fd)
            self.status_fd = -1
            return answer or {}
        return answer

    def _identify(self, init_pid: int, namespace: int) -> None:
        """Hold the PID namespace open (its number is then nobody else's) and name its first process in the marker."""
        try:
            descriptor = os.open(f"/proc/{init_pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            started = processes.started(init_pid)
        except OSError:  # over already: the namespace died with it
            return
        if namespace not in (0, os.fstat(descriptor).st_ino):
            os.close(descriptor)
            return
        self.remains.namespace_fd = descriptor
        self.remains.traces = replace(
            self.remains.traces, pid_namespace=os.fstat(descriptor).st_ino, init=(init_pid, started)
        )
        self._marker.init_pid, self._marker.init_started = init_pid, started
        self._place.runs.write(self._marker)

    def why_not_started(self) -> dict[str, str]:
        """The answer to a start that came to nothing."""
        if self.error.startswith("binds."):
            return {"refused": self.error}
        fix = "run `lockgate doctor`, and see the sandbox's output above"
        return {"unavailable": self.error or "bubblewrap ended before it made a sandbox", "fix": fix}

    def end(self, cause: ExitCause) -> None:
        """Kill it; the first cause given is the one reported."""
        if self.cause is None:
            self.cause = cause
        self.kill_half_made()
        self.remains.kill()

    def kill_half_made(self) -> None:
        """Nothing but its session tells a half-made sandbox apart; safe only while that session's leader is not reaped."""
        if self.bwrap is not None and self.remains.namespace_fd is None and self.bwrap.status is None:
            for pid in processes.find(Traces(session=self.bwrap.pid)):
                processes.kill(pid)

    def overrun(self, now_ms: int) -> ExitCause | None:
        """The limit it has passed, if any."""
        if now_ms >= self.deadline_ms:
            return "wall"
        if self.group is not None and self.group.cpu_seconds() > self.spec.limits.cpu_seconds:
            return "cpu"
        if self._inodes() > self.spec.limits.inodes:
            return "disk"
        return None

    def _inodes(self) -> int:
        """How many files its own file systems hold; no limit of the kernel's can be set on that. 0 when it is over."""
        init, _ = self.remains.traces.init
        if not init:
            return 0
        try:
            if Path(f"/proc/{init}/root").samefile("/"):  # bubblewrap still builds: what is seen there is the host's
                return 0
            states = [os.statvfs(f"/proc/{init}/root{place}") for place in SCRATCH]
        except OSError:
            return 0
        return sum(state.f_files - state.f_ffree for state in states)

    def exit_event(self) -> dict[str, Any]:
        """How it ended, once bubblewrap has; bubblewrap tells a signal as 128 + number."""
        code = self.exit_code
        if code is None:
            status = self.bwrap.status if self.bwrap is not None else None
            code = os.waitstatus_to_exitcode(status or 0)
            code = 128 - code if code < 0 else code
        number = code - 128 if code > 128 else None
        cause = self.cause
        if cause is None and self.group is not None and self.group.out_of_memory():
            cause = "oom"
        if cause is None:
            cause = "exit" if number is None else "cpu" if number == signal.SIGXCPU else "signal"
        return {"event": "exit", "id": self.spec.id, "cause": cause, "exit_code": code, "signal": number}


def _object(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
