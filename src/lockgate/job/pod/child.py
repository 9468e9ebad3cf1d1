"""The job as a child of the pod's first process: started within its limits, reaped, ended with all it left. It must not outlive its parent."""

from __future__ import annotations

import binascii
import os
import resource
import signal
import socket

from lockgate.contract import jobplaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CHANNEL_VARIABLE = "LOCKGATE_CHANNEL_FD"
CHANNEL = 3
NOT_STARTED = 127
_INSTRUCTION_BYTES = 8
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2


class Order:
    """What the runner wants run. Raises ValueError, KeyError, TypeError for anything but its own form."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.argv = [_text(word) for word in said["argv"]]
        self.environment = {_text(name): _text(value) for name, value in said["env"].items()}
        limits = said["limits"]
        self.rlimits = {
            resource.RLIMIT_CORE: 1,  # not 0: that lets a kernel pipe cores, secrets and all, to a program of the host (core(5))
            resource.RLIMIT_CPU: _count(limits["cpu_seconds"]),
            resource.RLIMIT_FSIZE: _count(limits["file_bytes"]),
            resource.RLIMIT_NOFILE: _count(limits["open_files"]),
        }
        self.processes = _count(limits["processes"])
        self.inodes = _count(limits["inodes"])
        self.filter = binascii.a2b_base64(_text(said["filter"]), strict_mode=True)
        if not self.filter or len(self.filter) % _INSTRUCTION_BYTES:
            raise ValueError("filter: must be a program of instructions")
        self.wall_seconds = float(limits["wall_seconds"])
        self.back = [_text(target) for target in said["back"]]
        if not self.argv or not self.argv[0].startswith("/"):
            raise ValueError("argv: must start with an absolute path")


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("a text is none")
    return value


def _count(value: object) -> int:
    if type(value) is not int or value <= 0:
        raise ValueError("limits: must be greater than zero")
    return value


class Child:
    """The running job: its `pid`, this side of its `channel` and of its `output` (a descriptor), neither of them blocking."""

    def __init__(self, order: Order, below: str = "", beside: int | None = None) -> None:
        """``beside``: another child, that ends with this one. Raises OSError when no process can be made; that its program cannot be started
        shows as exit code 127."""
        self._beside = beside
        ours, theirs = socket.socketpair()
        self.output, writing = os.pipe()
        self.channel = ours
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _become(order, theirs.fileno(), writing, below)
        theirs.close()
        os.close(writing)
        ours.setblocking(False)
        os.set_blocking(self.output, False)

    def reap(self) -> bool:
        """Take in every child that has ended, orphans included; whether the job is among them, now or before."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return self.status is not None
            if pid == 0:
                return self.status is not None
            if pid == self.pid:
                self.status = status

    def end_all(self) -> None:
        """SIGKILL everything else that lives here, and wait until nothing is left of it."""
        while True:
            self._kill_all()
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            if pid == self.pid:
                self.status = status

    def _kill_all(self) -> None:
        """Every other process of this pod; where this is not its first process (no pod), the job's own group and what ran beside it."""
        if os.getpid() == 1:
            _kill(os.kill, -1)
            return
        _kill(os.killpg, self.pid)
        if self._beside is not None:
            _kill(os.kill, self._beside)


def _kill(send: Callable[[int, int], None], number: int) -> None:
    try:
        send(number, signal.SIGKILL)
    except ProcessLookupError:
        return


def _become(order: Order, channel: int, output: int, below: str) -> None:
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(channel, CHANNEL)
        os.closerange(CHANNEL + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        for kind, value in order.rlimits.items():
            hard = resource.getrlimit(kind)[1]
            cap = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (cap, cap))
        if os.getppid() == 1:  # a pod's user has no process elsewhere; beside the job's, its first process counts
            resource.setrlimit(resource.RLIMIT_NPROC, (order.processes + 1, order.processes + 1))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        environment = order.environment | {CHANNEL_VARIABLE: str(CHANNEL)}
        if below:
            environment[jobplaces.UNSAFE_ROOT_VARIABLE] = below
        os.chdir(below + "/work")
        _confine(order.filter)
        os.execve(order.argv[0], order.argv, environment)  # noqa: S606 - never by a shell
    except OSError as error:
        os.write(2, f"lockgate pod: the job cannot be started: {order.argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(NOT_STARTED)


def _confine(program: bytes) -> None:
    """From here on these system calls alone, for this process and all that come of it. Raises OSError: then nothing may be started."""
    import ctypes

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    given = Program(len(program) // _INSTRUCTION_BYTES, program)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0), (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(given))):
        if libc.prctl(*arguments, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "the job cannot be confined")
