"""The last good bundle of a server, on disk, for a gateway that is started while the server is away. It verifies nothing: whoever reads it must, as if it came from the server."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lockgate.policy.bundles.archive import MAX_ARCHIVE_BYTES, pack, unpack
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.sources.port import Fetched

_SUFFIX: Final = ".tar.gz"
_DRAFT: Final = ".draft"
_MADE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class LastGood:
    """One bundle in `folder`, which is the gateway's alone; what came from a source of another name is none. All of it blocks."""

    folder: Path
    source: str

    @property
    def file(self) -> str:
        """Its name in the folder: whoever is told to take policy from elsewhere must not go on with what the old place had."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:32] + _SUFFIX

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        return str(self.folder / self.file)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Replace it, and what another source had, durably and all at once, mode 0600 in a folder of mode 0700. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._opened() as folder:
            os.fchmod(folder, 0o700)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_DRAFT, dir_fd=folder)  # of a gateway that was killed
            with os.fdopen(os.open(_DRAFT, _MADE, 0o600, dir_fd=folder), "wb") as file:
                file.write(pack(files))
                file.flush()
                os.fsync(file.fileno())
            os.rename(_DRAFT, self.file, src_dir_fd=folder, dst_dir_fd=folder)
            for other in os.listdir(folder):  # noqa: PTH208  (of the descriptor: the folder that was opened)
                if other.endswith(_SUFFIX) and other != self.file:
                    os.unlink(other, dir_fd=folder)
            os.fsync(folder)

    def read(self) -> Fetched | None:
        """Its files, or None where none was kept. Raises PolicyLoadError for what is no bundle or cannot be read."""
        try:
            with self._opened() as folder, os.fdopen(os.open(self.file, _READ, dir_fd=folder), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise PolicyLoadError(self.name, "is not a regular file")
                content = file.read(MAX_ARCHIVE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PolicyLoadError(self.name, f"cannot be read: {error.strerror}") from None
        return Fetched(self.name, unpack(content, self.name))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The folder itself: a link in its place is not followed."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
