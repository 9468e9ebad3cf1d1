"""The few Linux calls Python's standard library lacks; it must not hold policy, only wrap calls and raise OSError."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class _SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _prctl(option: int, first: object, second: object = 0) -> None:
    if _LIBC.prctl(option, first, second, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), f"prctl {option}")


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel to send ``signal_number`` when the parent dies; a change of uid forgets it, so call this after."""
    _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number))


def forbid_new_privileges() -> None:
    """Set no_new_privs, which never goes away again."""
    _prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))


def hide_from_tracers() -> None:
    """Make this process undumpable, so that no process of the same uid may trace it or read its memory."""
    _prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0))


def install_filter(program: bytes) -> None:
    """Install a seccomp filter on this thread; needs no_new_privs."""
    fprog = _SockFprog(len(program) // 8, program)
    _prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(fprog))


def boottime_ms() -> int:
    """Milliseconds on the clock that counts suspend."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
