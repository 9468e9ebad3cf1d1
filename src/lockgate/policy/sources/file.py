"""A bundle in one file or unpacked in a directory, looked at again when it changes. It follows no link out of the directory and writes nothing."""

from __future__ import annotations

import asyncio
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from lockgate.policy.bundles.archive import MAX_ARCHIVE_BYTES, MAX_FILES, MAX_UNPACKED_BYTES, check_path, unpack
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.sources.port import Fetched, SourceUnavailable

MAX_FOLDERS = 256

Stamp = tuple[tuple[str, int, int, int], ...]
"""Of every file: path, time of change in ns, size, inode."""


class _PathSource(ABC):
    """What is at a path, brought when its stamp is another than the last one that was brought."""

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self._path = path
        self._seen: Stamp | None = None

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    async def look(self) -> Fetched | None:
        """See BundleSource.look."""
        return await asyncio.to_thread(self._look)

    def forget(self) -> None:
        """See BundleSource.forget."""
        self._seen = None

    @abstractmethod
    def _look(self) -> Fetched | None:
        """Blocks. Raises PolicyLoadError, SourceUnavailable."""


class FileSource(_PathSource):
    """A `bundle.tar.gz`. Replace it by renaming another one onto it: what is written in place may be read half."""

    def _look(self) -> Fetched | None:
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise PolicyLoadError(self.name, "is not a regular file")
                stamp = (("", found.st_mtime_ns, found.st_size, found.st_ino),)
                if stamp == self._seen:
                    return None
                content = file.read(MAX_ARCHIVE_BYTES + 1)
        except OSError as error:
            raise SourceUnavailable(f"{self._path}: cannot be read: {error.strerror}") from None
        self._seen = stamp
        return Fetched(self.name, unpack(content, self.name))


class DirectorySource(_PathSource):
    """An unpacked bundle. A look that finds it being changed brings nothing; the next one does."""

    def _look(self) -> Fetched | None:
        try:
            before = self._stamp()
            if before == self._seen:
                return None
            files = {path: self._read(path, size) for path, _, size, _ in before}
            if self._stamp() != before:
                raise SourceUnavailable(
                    f"{self._path}: was changed while it was read; it is read again at the next look"
                )
        except OSError as error:
            raise SourceUnavailable(f"{error.filename or self._path}: cannot be read: {error.strerror}") from None
        except PolicyLoadError:
            self._seen = None  # what was good before is brought again once this is gone
            raise
        self._seen = before
        if not files:
            raise PolicyLoadError(self.name, "is empty: there is no file in it")
        return Fetched(self.name, files)

    def _stamp(self) -> Stamp:
        found: list[tuple[str, int, int, int]] = []
        total = 0
        for path, entry in self._walk():
            info = entry.stat(follow_symlinks=False)
            total += info.st_size
            if len(found) >= MAX_FILES or total > MAX_UNPACKED_BYTES:
                raise PolicyLoadError(self.name, f"holds more than {MAX_FILES} files or {MAX_UNPACKED_BYTES} bytes")
            found.append((path, info.st_mtime_ns, info.st_size, info.st_ino))
        return tuple(sorted(found))

    def _walk(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        folders = [""]
        for count, folder in enumerate(folders):
            if count >= MAX_FOLDERS:
                raise PolicyLoadError(self.name, f"holds more than {MAX_FOLDERS} folders")
            with os.scandir(self._path / folder) as entries:
                for entry in entries:
                    path = folder + entry.name
                    check_path(path, self.name)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path + "/")
                    elif entry.is_file(follow_symlinks=False):
                        yield path, entry
                    else:
                        raise PolicyLoadError(self.name, "is no regular file; a bundle holds nothing else", field=path)

    def _read(self, path: str, size: int) -> bytes:
        descriptor = os.open(self._path / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(size + 1)
