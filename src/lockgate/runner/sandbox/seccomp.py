"""Seccomp filters as classic BPF, assembled here; it must not load anything, only produce bytes.

The job's filter is a deny-list on top of no capabilities, no user namespaces and no_new_privs: it removes what has repeatedly been
a way out of unprivileged sandboxes (tracing, namespaces, mounts, keyrings, BPF, io_uring, every socket family but AF_UNIX), what
could outlive the run on a disk it may write to (setuid and setgid files), and every call that is newer than its tables.
Foreign architectures and the x32 ABI are killed. The warden's filter is an allow-list. The egress proxy's is the job's with the
internet's socket families, and without the right to start another program; the porter's has that without those families.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import Final

from lockgate.runner.sandbox.profile import INSIDE_UID
from lockgate.runner.sandbox.syscalls import AUDIT_ARCH, EXECUTION, NEWEST, SANDBOX, WARDEN

_LD_ABS: Final = 0x20
_JEQ: Final = 0x15
_JGE: Final = 0x35
_JSET: Final = 0x45
_AND: Final = 0x54
_RET: Final = 0x06

_OFFSET_NR: Final = 0
_OFFSET_ARCH: Final = 4
_OFFSET_ARGS: Final = 16

_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_ERRNO: Final = 0x00050000
_X32_BIT: Final = 0x40000000

_AF_UNIX: Final = 1
_AF_INET: Final = 2
_AF_INET6: Final = 10
_AF_NETLINK: Final = 16
_SOCK_TYPE: Final = 0xF
_SOCK_STREAM: Final = 1
_IPPROTO_TCP: Final = 6
_TIOCSTI: Final = 0x5412
_TIOCLINUX: Final = 0x541C
_TIOCSETD: Final = 0x5423
_PERSONALITY_QUERY: Final = 0xFFFFFFFF
_PROT_EXEC: Final = 4
_NAMESPACE_FLAGS: Final = (
    0x7E020000  # CLONE_NEW{CGROUP,UTS,IPC,USER,PID,NET}, CLONE_NEWNS; NEWTIME exists for clone3 and unshare only
)
_OWNERSHIP: Final = {"chown": 1, "fchown": 1, "lchown": 1, "fchownat": 2}
"""System calls that change an owner, and at which argument the uid stands; the gid follows it."""

_SET_ID_BITS: Final = 0o6000
_MODE_AT: Final = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1, "mknod": 1, "mknodat": 2}
"""System calls that give a file a mode, and at which argument it stands."""
_FLAGS_AT: Final = {"open": 1, "openat": 2}
"""Those that do so only when they create; the mode follows the flags."""
_CREATING: Final = 0x400040  # O_CREAT and the bit of O_TMPFILE that is no other flag's
_RLIMIT_CORE: Final = 4
_IGNORED: Final = 0

_CONDITIONAL: Final = frozenset(
    {"clone", "clone3", "openat2", "socket", "socketpair", "ioctl", "personality", "setrlimit", "prlimit64"}
    | {*_OWNERSHIP, *_MODE_AT, *_FLAGS_AT}
)
_UNCHANGED: Final = 0xFFFF_FFFF


class UnsupportedArchitecture(RuntimeError):
    """No filter is written for this machine, so nothing may run on it; the message names the architecture."""


@dataclass(frozen=True)
class _Instruction:
    code: int
    operand: int
    if_true: int = 0
    if_false: int = 0

    def packed(self) -> bytes:
        return struct.pack("=HBBI", self.code, self.if_true, self.if_false, self.operand)


def _argument(index: int) -> _Instruction:
    """Load the low half of an argument; both architectures are little-endian."""
    return _Instruction(_LD_ABS, _OFFSET_ARGS + 8 * index)


def _upper_half(index: int) -> _Instruction:
    return _Instruction(_LD_ABS, _OFFSET_ARGS + 8 * index + 4)


def _on(number: int, body: list[_Instruction]) -> list[_Instruction]:
    """``body`` (which must return) for one system call, skipped for the others."""
    return [_Instruction(_JEQ, number, 0, len(body)), *body]


def _return(value: int) -> _Instruction:
    return _Instruction(_RET, value)


def _deny(code: int = errno.EPERM) -> _Instruction:
    return _return(_ERRNO | code)


def _prologue(machine: str) -> list[_Instruction]:
    if machine not in AUDIT_ARCH:
        raise UnsupportedArchitecture(f"no system call filter for {machine}: only {', '.join(sorted(AUDIT_ARCH))}")
    head = [
        _Instruction(_LD_ABS, _OFFSET_ARCH),
        _Instruction(_JEQ, AUDIT_ARCH[machine], 1, 0),
        _return(_KILL_PROCESS),
        _Instruction(_LD_ABS, _OFFSET_NR),
    ]
    if machine == "x86_64":
        head += [_Instruction(_JGE, _X32_BIT, 0, 1), _return(_KILL_PROCESS)]
    return head


def _only_values(index: int, allowed: tuple[int, ...], otherwise: _Instruction) -> list[_Instruction]:
    body = [_argument(index)]
    for value in allowed:
        body += [_Instruction(_JEQ, value, 0, 1), _return(_ALLOW)]
    return [*body, otherwise]


def _own_or_unchanged(index: int) -> list[_Instruction]:
    """Only to the sandbox's own uid and gid. The kernel answers EINVAL for ids its namespace does not map, which tools take for a fault;
    EPERM is what an unprivileged process gets everywhere else, and what they cope with."""
    body = []
    for argument in (index, index + 1):
        body += [
            _argument(argument),
            _Instruction(_JEQ, INSIDE_UID, 2, 0),
            _Instruction(_JEQ, _UNCHANGED, 1, 0),
            _deny(),
        ]
    return [*body, _return(_ALLOW)]


def _without_bits(index: int, bits: int) -> list[_Instruction]:
    return [_argument(index), _Instruction(_JSET, bits, 0, 1), _deny(), _return(_ALLOW)]


def _assembled(program: list[_Instruction]) -> bytes:
    return b"".join(instruction.packed() for instruction in program)


def _unix_or_tcp() -> list[_Instruction]:
    """A Unix socket, or one for TCP over IPv4: in a network namespace without a way out, that reaches its own loopback only."""
    return [
        _argument(0),
        *(_Instruction(_JEQ, _AF_UNIX, 0, 1), _return(_ALLOW)),
        *(_Instruction(_JEQ, _AF_INET, 1, 0), _deny(errno.EAFNOSUPPORT)),
        *(_argument(1), _Instruction(_AND, _SOCK_TYPE), _Instruction(_JEQ, _SOCK_STREAM, 1, 0)),
        _deny(errno.EAFNOSUPPORT),
        *_only_values(2, (0, _IPPROTO_TCP), _deny(errno.EPROTONOSUPPORT)),
    ]


def job_filter(machine: str, *, loopback: bool = False) -> bytes:
    """The filter for everything inside a sandbox, as an array of ``sock_filter``; raises UnsupportedArchitecture.

    ``loopback`` is for stages that may reach their egress proxy: tools find it by TCP at their own loopback address.
    """
    sockets = _unix_or_tcp() if loopback else _only_values(0, (_AF_UNIX,), _deny(errno.EAFNOSUPPORT))
    return _assembled(_deny_list(machine, sockets))


def proxy_filter(machine: str) -> bytes:
    """The filter for an egress proxy; raises UnsupportedArchitecture."""
    families = (_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK)  # the resolver asks by netlink which families there are
    return _without_execution(machine, families)


def porter_filter(machine: str) -> bytes:
    """The filter for a porter: it takes what others connect, and connects to nobody; raises UnsupportedArchitecture."""
    return _without_execution(machine, (_AF_UNIX,))


def _without_execution(machine: str, families: tuple[int, ...]) -> bytes:
    program = _deny_list(machine, _only_values(0, families, _deny(errno.EAFNOSUPPORT)))
    refused = [part for number in EXECUTION[machine].values() for part in _on(number, [_deny()])]
    return _assembled([*program[:-1], *refused, program[-1]])


def _deny_list(machine: str, sockets: list[_Instruction]) -> list[_Instruction]:
    program = _prologue(machine)
    calls = SANDBOX[machine]
    for name, number in calls.items():
        if name not in _CONDITIONAL:
            program += _on(number, [_deny()])
    program += [_Instruction(_JGE, NEWEST + 1, 0, 1), _deny(errno.ENOSYS)]
    # These pass flags and modes in memory, where a filter cannot look; ENOSYS makes callers fall back to clone and openat.
    for name in ("clone3", "openat2"):
        program += _on(calls[name], [_deny(errno.ENOSYS)])
    program += _on(calls["clone"], _without_bits(0, _NAMESPACE_FLAGS))
    program += _on(calls["socket"], sockets)
    program += _on(calls["socketpair"], _only_values(0, (_AF_UNIX,), _deny(errno.EAFNOSUPPORT)))
    program += _on(calls["personality"], _only_values(0, (0, _PERSONALITY_QUERY), _deny()))
    for name, index in _OWNERSHIP.items():
        if name in calls:
            program += _on(calls[name], _own_or_unchanged(index))
    program += _without_set_id(calls)
    program += _core_limit_stays(calls)
    terminal = [_argument(1)]
    for request in (_TIOCSTI, _TIOCLINUX, _TIOCSETD):
        terminal += [_Instruction(_JEQ, request, 0, 1), _deny()]
    program += _on(calls["ioctl"], [*terminal, _return(_ALLOW)])
    return [*program, _return(_ALLOW)]


def _without_set_id(calls: dict[str, int]) -> list[_Instruction]:
    """No file becomes setuid or setgid: on a shared path it would outlive the run, and give its uid or group to whoever starts it."""
    program: list[_Instruction] = []
    for name, index in _MODE_AT.items():
        if name in calls:
            program += _on(calls[name], _without_bits(index, _SET_ID_BITS))
    for name, index in _FLAGS_AT.items():
        if name in calls:
            created = [_argument(index), _Instruction(_JSET, _CREATING, 1, 0), _return(_ALLOW)]
            program += _on(calls[name], created + _without_bits(index + 1, _SET_ID_BITS))
    return program


def _core_limit_stays(calls: dict[str, int]) -> list[_Instruction]:
    """The launcher's limit of one byte is the only one under which a kernel that pipes cores to a program of the host makes none.

    To lower it to zero would bring that back, so it answers success and does nothing: programs that must not leave cores insist on it.
    """
    asks_only = [
        _upper_half(2),
        _Instruction(_JEQ, 0, 0, 3),
        _argument(2),
        _Instruction(_JEQ, 0, 0, 1),
        _return(_ALLOW),
    ]
    core = [_Instruction(_JEQ, _RLIMIT_CORE, 1, 0), _return(_ALLOW)]
    return [
        *_on(calls["setrlimit"], [_argument(0), *core, _deny(_IGNORED)]),
        *_on(calls["prlimit64"], [_argument(1), *core, *asks_only, _deny(_IGNORED)]),
    ]


def warden_filter(machine: str) -> bytes:
    """The filter for a warden: talk on descriptors it already has, manage memory, exit; raises UnsupportedArchitecture."""
    program = _prologue(machine)
    for name, number in WARDEN[machine].items():
        body = _without_bits(2, _PROT_EXEC) if name in ("mmap", "mprotect") else [_return(_ALLOW)]
        program += _on(number, body)
    return _assembled([*program, _deny()])
