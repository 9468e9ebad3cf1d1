"""Uids for live runs, unique on the whole host by locks the kernel drops with their holder; it must not touch processes."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lockgate.runner.sandbox.port import SandboxUnavailable

DEFAULT_LOCKS: Final = Path("/run/lockgate-uids")


@dataclass(frozen=True)
class UidPair:
    """The uid (and equal gid) of one run and that of its warden."""

    run: int
    warden: int


@dataclass(frozen=True)
class UidRange:
    """``count`` uids from ``base``, used in pairs, that belong to nobody else on this host."""

    base: int = 700_000
    count: int = 4096

    def check(self, uid_map: str) -> None:
        """Raise SandboxUnavailable unless this user namespace (``uid_map``: /proc/self/uid_map) has the whole range."""
        for line in uid_map.splitlines():
            inside, _, length = (int(part) for part in line.split())
            if inside <= self.base and self.base + self.count <= inside + length:
                return
        raise SandboxUnavailable(
            f"uids {self.base} to {self.base + self.count - 1} do not exist in this user namespace",
            "set the sandbox's uid_base and uid_count to a free range listed in /proc/self/uid_map",
        )


class UidPool:
    """Hands out pairs; a pair is free when this pool released it or its holder's process is dead."""

    def __init__(self, uids: UidRange, locks: Path) -> None:
        self._range = uids
        self._locks = locks
        self._held: dict[int, int] = {}
        self._next = 0
        locks.mkdir(mode=0o700, parents=True, exist_ok=True)

    def take(self) -> UidPair:
        """A free pair, least recently tried first; raises SandboxUnavailable when all are in use."""
        pairs = self._range.count // 2
        for step in range(pairs):
            index = (self._next + step) % pairs
            uid = self._range.base + 2 * index
            if uid not in self._held and self._lock(uid):
                self._next = index + 1
                return UidPair(uid, uid + 1)
        raise SandboxUnavailable(
            "every sandbox uid is in use", "raise the sandbox's uid_count or run fewer sandboxes at once"
        )

    def claim(self, uid: int) -> bool:
        """Take the lock of a dead run's ``uid`` so that its processes may be ended; False when somebody lives there."""
        in_range = self._range.base <= uid < self._range.base + self._range.count
        return in_range and uid not in self._held and self._lock(uid)

    def release(self, uid: int) -> None:
        """Give a pair back by its run uid; idempotent. The lock is dropped by name, as forked children share the descriptor."""
        descriptor = self._held.pop(uid, None)
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _lock(self, uid: int) -> bool:
        descriptor = os.open(self._locks / str(uid), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._held[uid] = descriptor
        return True
