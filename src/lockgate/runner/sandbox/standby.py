"""A child forked ahead for the next sandbox: in fresh control groups already, and waiting for the one order that makes it bubblewrap.

Entering a control group of version 1 takes the kernel 5 to 17 ms, forking a Python process one or two: the launcher does both before it is
asked (ADR 25). A standby MUST hold nothing of any run: it closes every descriptor but its own socket before it waits, gets what it needs
with its order, and is used once.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import secrets
import signal
import socket
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from lockgate.runner.sandbox.cgroups import CgroupTree, RunGroup, make_group
from lockgate.runner.sandbox.control import receive_descriptors
from lockgate.runner.sandbox.port import SandboxLimits
from lockgate.runner.sandbox.spawn import Child, Numbers, enter_group, exec_sandbox
from lockgate.runner.sandbox.teardown import ChildProcess

_SOCKET: Final = 3
_FIRST: Final = 4
"""Every descriptor below is closed or known, so the kernel gives those of an order the numbers from here on, in their order."""

FIXED: Final = ("order", "arguments", "channel", "status", "seccomp", "output")


def descriptor(name: str) -> int:
    """The number under which a standby will hold one of FIXED."""
    return _FIRST + FIXED.index(name)


def file_descriptors(count: int) -> tuple[int, ...]:
    """The numbers of `count` injected files."""
    return tuple(range(_FIRST + len(FIXED), _FIRST + len(FIXED) + count))


@dataclass
class Standby:
    """One waiting child with its groups."""

    group: RunGroup | None
    process: ChildProcess
    line: socket.socket

    def order(self, child: Child, descriptors: dict[str, int], files: list[int]) -> None:
        """Make it the sandbox that `child` describes; `descriptors` by their names in FIXED less `order`. Raises OSError."""
        order = memory_file("order", json.dumps(child.to_message()).encode())
        try:
            socket.send_fds(self.line, [b"!"], [order, *(descriptors[name] for name in FIXED[1:]), *files])
        finally:
            os.close(order)
            self.line.close()

    def dismiss(self) -> None:
        """End it unused; its groups go with it."""
        self.line.close()
        self.process.kill()
        os.waitpid(self.process.pid, 0)
        os.close(self.process.pidfd)
        if self.group is not None:
            self.group.remove()


class Bench:
    """Keeps one standby ready. Its groups are called `prefix` and a random id: whose sandbox it becomes is not known yet."""

    def __init__(self, tree: CgroupTree | None, prefix: str) -> None:
        self._tree = tree
        self._prefix = prefix
        self._waiting: Standby | None = None

    def take(self) -> Standby:
        """The one that waits, or a new one if none does or it has died; raises OSError."""
        found, self._waiting = self._waiting, None
        if found is not None and found.process.poll():
            found.line.close()
            os.close(found.process.pidfd)
            if found.group is not None:
                found.group.remove()
            found = None
        return found if found is not None else _stand_by(self._tree, self._prefix)

    def renew(self) -> None:
        """Make one if none waits; when it cannot be made now, the next `take` says why."""
        if self._waiting is None:
            try:
                self._waiting = _stand_by(self._tree, self._prefix)
            except OSError:
                return

    def close(self) -> None:
        """End the one that waits; idempotent."""
        found, self._waiting = self._waiting, None
        if found is not None:
            found.dismiss()

    @property
    def group_names(self) -> frozenset[str]:
        """The names of the waiting one's groups: they are nobody's leftovers."""
        group = self._waiting.group if self._waiting is not None else None
        return frozenset(path.name for path in group.paths.values()) if group is not None else frozenset()


def _stand_by(tree: CgroupTree | None, prefix: str) -> Standby:
    group = make_group(tree, prefix + secrets.token_hex(16), SandboxLimits()) if tree is not None else None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        if group is not None:
            group.remove()
        raise
    if pid == 0:
        _wait(theirs, group, parent)
    theirs.close()
    return Standby(group, ChildProcess(pid, os.pidfd_open(pid)), ours)


def _wait(line: socket.socket, group: RunGroup | None, parent: int) -> NoReturn:
    """The child: let go of everything, enter the groups, wait, become bubblewrap. It never returns."""
    try:
        _let_go(line)
        fault = ""
        try:
            enter_group(group, parent)
        except OSError as error:
            fault = str(error)
        _, descriptors = receive_descriptors(socket.socket(fileno=_SOCKET), 1)
        if not descriptors:
            os._exit(0)
        if descriptors != list(range(_FIRST, _FIRST + len(descriptors))):
            os._exit(126)
        _become(Child.from_message(_read(descriptor("order")), group), len(descriptors) - len(FIXED), fault)
    finally:
        os._exit(127)


def _become(child: Child, files: int, fault: str) -> NoReturn:
    fixed = {name: descriptor(name) for name in FIXED[1:]}
    exec_sandbox(child, Numbers(**fixed, files=file_descriptors(files)), fault)


def _let_go(line: socket.socket) -> None:
    """Nothing of the launcher's stays open but stderr: an end of another sandbox's channel held here would hide that its other end closed."""
    gc.disable()  # an object of the launcher's that were freed here would close a number that is somebody else's by then
    os.setsid()
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(line.detach(), _SOCKET, inheritable=False)
    os.closerange(_FIRST, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _read(order: int) -> dict[str, Any]:
    with open(order, "rb") as stream:
        message: dict[str, Any] = json.load(stream)
    return message


def memory_file(name: str, content: bytes) -> int:
    """A descriptor of `content` in memory, at its start. The caller closes it."""
    made = os.memfd_create(name)
    view = memoryview(content)
    while view:
        view = view[os.write(made, view) :]
    os.lseek(made, 0, os.SEEK_SET)
    return made
