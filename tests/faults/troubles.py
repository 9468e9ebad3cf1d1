"""Makes a process's disk and clock behave badly, by the kernel's own means where there are any; it must not touch another process."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import threading
import time
from pathlib import Path
from typing import Any

from lockgate.runner.sandbox.syscalls import AUDIT_ARCH

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_RDONLY, MS_REMOUNT, MS_REC, MS_PRIVATE = 1, 32, 0x4000, 1 << 18
CALLS = {
    "x86_64": {"pwrite64": 18, "fsync": 74, "fdatasync": 75},
    "aarch64": {"pwrite64": 68, "fsync": 82, "fdatasync": 83},
}
TROUBLED = {"write": ("pwrite64",), "sync": ("fsync", "fdatasync")}
LIBC = ctypes.CDLL(None, use_errno=True)


class Troubles:
    """What is wrong with this process's world.

    `clock`: seconds that wall time is off; `slow`: seconds that every sync takes longer; `write`, `sync`: the error number with which these system
    calls fail from now on in the thread that writes the store or the journal, until the process ends (seccomp).
    """

    def __init__(self, what: str, trouble: dict[str, Any]) -> None:
        self._what = what
        self._trouble = trouble
        self._pause = threading.Event()  # never set: this is how slow the disk is
        self._failing: set[str] = set()

    def begin(self) -> None:
        """Put the wrappers in place; called before the product starts."""
        real, real_ns = time.time, time.time_ns
        time.time = lambda: real() + self._trouble.get("clock", 0)
        time.time_ns = lambda: real_ns() + int(self._trouble.get("clock", 0) * 1e9)
        (self._gateway if self._what == "gateway" else self._runner)()

    def change(self, trouble: dict[str, Any]) -> None:
        """From now on it is this."""
        self._trouble = trouble

    def _gateway(self) -> None:
        from lockgate.gateway.store.sqlite.writer import Writer

        write = Writer._write

        def writing(writer: Any, tickets: list[Any]) -> Any:
            self._strike()
            return write(writer, tickets)

        Writer._write = writing  # type: ignore[method-assign, assignment]

    def _runner(self) -> None:
        from lockgate.runner.journal import Journal

        note = Journal._record

        def noting(journal: Any, record: Any) -> None:
            self._strike()
            note(journal, record)

        Journal._record = noting  # type: ignore[method-assign, assignment]

    def _strike(self) -> None:
        """In the thread that is about to write."""
        if slow := self._trouble.get("slow"):
            self._pause.wait(slow)
        for kind, names in TROUBLED.items():
            number = self._trouble.get(kind)
            if number is not None and kind not in self._failing:
                self._failing.add(kind)
                refuse(names, number)


def refuse(names: tuple[str, ...], number: int) -> None:
    """From now on these system calls fail with `number` in this thread, and in what it starts."""
    machine = os.uname().machine
    calls = [CALLS[machine][name] for name in names]
    # Load the architecture, allow another one; load the call's number, compare each; allow, or answer with the error.
    program = [(0x20, 0, 0, 4), (0x15, 0, len(calls) + 1, AUDIT_ARCH[machine]), (0x20, 0, 0, 0)]
    program += [(0x15, len(calls) - index, 0, call) for index, call in enumerate(calls)]
    program += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050000 | number)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0)):
        if LIBC.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def small_disk(directory: Path, size: int) -> None:
    """From now on this process and its children have a disk of `size` bytes of their own at `directory`, with what was there on it."""
    uid, gid = os.geteuid(), os.getegid()
    # An ordinary user is one in a user namespace too: only there may it mount.
    check(LIBC.unshare(CLONE_NEWNS | (0 if uid == 0 else CLONE_NEWUSER)))
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    check(LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    before = directory.with_name(directory.name + ".before")
    if directory.exists():
        shutil.copytree(directory, before)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = f"size={size},mode=0700,uid={uid},gid={gid}".encode()
    check(LIBC.mount(b"small", os.fsencode(directory), b"tmpfs", 0, options))
    if before.exists():
        shutil.copytree(before, directory, dirs_exist_ok=True)
        shutil.rmtree(before)


def read_only(directory: Path, *, value: bool) -> None:
    """The small disk is mounted again, read-only or not; nothing may be open for writing on it."""
    check(LIBC.mount(b"small", os.fsencode(directory), None, MS_REMOUNT | (MS_RDONLY if value else 0), None))


def check(answer: int) -> None:
    """Raises OSError for a C function that failed."""
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
