"""Reads the sealed source as it lies on disk and digests it; it must not follow a link or trust a name."""

from __future__ import annotations

import os
import stat

from lockgate.contract.hashing import new_sha256
from lockgate.contract.snapshot import MAX_BYTES, MAX_FILES, Entry, SnapshotError, checked_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20


def walk(root: str | os.PathLike[str]) -> Iterator[Entry]:
    """Every file below `root`, depth first. Raises SnapshotError: a link, a special file, an empty directory, a bad name, or over the bounds;
    OSError when something cannot be read."""
    budget = [MAX_FILES, MAX_BYTES]
    # The stack holds (path, name relative to root): an open directory per level would let depth use up the descriptors.
    stack = [(os.fspath(root), "")]
    while stack:
        place, relative = stack.pop()
        with os.scandir(place) as listing:
            children = sorted(listing, key=lambda child: child.name)
        if not children and relative:
            raise SnapshotError(f"{relative!r}: an empty directory is no part of a snapshot")
        for child in children:
            name = f"{relative}/{child.name}" if relative else child.name
            checked_path(name)
            if child.is_dir(follow_symlinks=False):
                stack.append((child.path, name))
                budget[0] -= 1
            else:
                yield _file(child.path, name, budget)
            if budget[0] < 0 or budget[1] < 0:
                raise SnapshotError(f"the source has more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB")


def _file(path: str, name: str, budget: list[int]) -> Entry:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SnapshotError(f"{name!r}: {_why_not(path) or error.strerror}") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise SnapshotError(f"{name!r}: neither a regular file nor a directory")
        # What was read so far counts too: a tree of many small files is as much work as one large file.
        content, size = new_sha256(status.st_size + MAX_BYTES - budget[1]), 0
        while size <= budget[1] and (chunk := os.read(handle, _CHUNK)):
            content.update(chunk)
            size += len(chunk)
    finally:
        os.close(handle)
    budget[0] -= 1
    budget[1] -= size
    return Entry(name, bool(status.st_mode & 0o111), size, content.digest())


def _why_not(path: str) -> str:
    mode = os.lstat(path).st_mode
    return "" if stat.S_ISREG(mode) else "neither a regular file nor a directory; links are not followed"
