"""Seals a source: copies it into a snapshot while hashing; what was copied is what counts, and no link or special file is ever followed.

Hard links are copied as the ordinary files they are: the copy shares nothing with the source any more.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lockgate.contract.snapshot import MAX_BYTES, MAX_FILES, Entry, SnapshotError, checked_path, snapshot_digest

MAX_DEPTH: Final = 64
_CHUNK: Final = 1 << 18
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO or a device that took a file's place must not hang.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class SealRefused(SnapshotError):
    """The source cannot be sealed; nothing is left of the snapshot. The message names the path and what to change."""


@dataclass(slots=True)
class _Sealing:
    entries: list[Entry] = field(default_factory=list)
    names: int = 0
    size: int = 0

    def count_name(self) -> None:
        self.names += 1
        if self.names > MAX_FILES:
            raise SealRefused(
                f"the source has more than {MAX_FILES} files and directories; point it at a smaller directory"
            )

    def count_bytes(self, count: int) -> None:
        self.size += count
        if self.size > MAX_BYTES:
            raise SealRefused(f"the source holds more than {MAX_BYTES >> 20} MiB; point it at a smaller directory")


def seal(source: Path, dest: Path) -> str:
    """Copy the tree below `source` to the new directory `dest`; the snapshot's digest by contract.snapshot. Blocks; run it in a thread.

    Directories become 0755, files 0444 or 0555: any uid may read it and none but the runner's write; `dest`'s parent keeps others out. Empty
    directories are left out. Raises SealRefused (a link, a special file, a bad name, a file that changes meanwhile, too much), OSError; then
    nothing of `dest` is left.
    """
    sealing = _Sealing()
    try:
        root = os.open(source, _DIRECTORY)
    except OSError as error:
        raise SealRefused(f"{source}: the source must be a directory and no link ({error.strerror})") from None
    try:
        dest.mkdir(mode=0o700)
        try:
            return _fill(sealing, root, dest)
        except BaseException:
            shutil.rmtree(dest)
            raise
    finally:
        os.close(root)


def _fill(sealing: _Sealing, root: int, dest: Path) -> str:
    into = os.open(dest, _DIRECTORY)
    try:
        _copy_directory(sealing, root, into, "")
        os.fchmod(into, 0o755)
    finally:
        os.close(into)
    try:
        return snapshot_digest(sealing.entries)
    except SnapshotError as error:
        raise SealRefused(str(error)) from None


def _copy_directory(sealing: _Sealing, source: int, into: int, relative: str) -> int:
    """How many files are below; directories without any are removed again."""
    if relative.count("/") > MAX_DEPTH:
        raise SealRefused(f"{relative[:80]!r}…: deeper than {MAX_DEPTH} directories")
    copied = 0
    for name in _names(sealing, source):
        path = f"{relative}{name}"
        try:
            checked_path(path)
        except SnapshotError as error:
            raise SealRefused(str(error)) from None
        kind = os.stat(name, dir_fd=source, follow_symlinks=False).st_mode
        if stat.S_ISDIR(kind):
            copied += _copy_inner(sealing, source, into, name, path)
        elif stat.S_ISREG(kind):
            _copy_file(sealing, source, into, name, path)
            copied += 1
        else:
            raise SealRefused(f"{path!r}: {_kind(kind)}; a source holds regular files and directories only")
    return copied


def _names(sealing: _Sealing, source: int) -> list[str]:
    names = []
    with os.scandir(source) as listing:
        for child in listing:
            sealing.count_name()
            names.append(child.name)
    return sorted(names)


def _copy_inner(sealing: _Sealing, source: int, into: int, name: str, path: str) -> int:
    inner = _open_at(name, _DIRECTORY, source, path)
    try:
        os.mkdir(name, 0o755, dir_fd=into)
        target = os.open(name, _DIRECTORY, dir_fd=into)
        try:
            os.fchmod(target, 0o755)
            copied = _copy_directory(sealing, inner, target, path + "/")
        finally:
            os.close(target)
    finally:
        os.close(inner)
    if not copied:
        os.rmdir(name, dir_fd=into)
    return copied


def _copy_file(sealing: _Sealing, source: int, into: int, name: str, path: str) -> None:
    reading = _open_at(name, _FILE, source, path)
    try:
        before = os.fstat(reading)
        if not stat.S_ISREG(before.st_mode):
            raise SealRefused(f"{path!r}: {_kind(before.st_mode)}; a source holds regular files and directories only")
        executable = bool(before.st_mode & 0o111)
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=into)
        try:
            content, size = hashlib.sha256(), 0
            while chunk := os.read(reading, _CHUNK):
                sealing.count_bytes(len(chunk))
                content.update(chunk)
                size += len(chunk)
                _write_all(writing, chunk)
            os.fchmod(writing, 0o555 if executable else 0o444)
        finally:
            os.close(writing)
        after = os.fstat(reading)
    finally:
        os.close(reading)
    if size != before.st_size or _version(before) != _version(after):
        raise SealRefused(f"{path!r}: changed while it was read; try again when nothing writes to the source")
    sealing.entries.append(Entry(path, executable, size, content.digest()))


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _open_at(name: str, flags: int, parent: int, path: str) -> int:
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.ENXIO):
            raise SealRefused(f"{path!r}: was replaced while the source was read") from None
        raise SealRefused(f"{path!r}: cannot be read: {error.strerror}") from None


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "a directory" if stat.S_ISDIR(mode) else "a special file"
