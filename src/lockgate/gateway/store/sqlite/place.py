"""Where the store lies: file modes and the one-process lock. It must not open the database."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from lockgate.gateway.store.port import StoreError, StoreLocked

_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700


def prepare(path: Path) -> None:
    """Make directory (0700) and file (0600) where missing. Raises StoreError when others could read or write either."""
    try:
        path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        _only_ours(path.parent, "directory", "chmod 700")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE))
        _only_ours(path, "file", "chmod 600")
    except OSError as error:
        raise StoreError(f"store: cannot use {path}: {error.strerror}; choose a place this user may write") from None


def _only_ours(path: Path, what: str, fix: str) -> None:
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise StoreError(
            f"store: the {what} {path} belongs to uid {status.st_uid}, not to this user; choose another place"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise StoreError(f"store: others may open the {what} {path}; run `{fix} {path}`")


class ProcessLock:
    """An OS lock on `<path>.lock`, held until released or until the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises StoreLocked naming the holder's pid."""
        self._path = path.with_name(path.name + ".lock")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreLocked(
                f"store: process {holder} already uses {path}; stop it, or give this one another store"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock up; the file stays, since removing it would race with the next holder."""
        os.close(self._fd)
