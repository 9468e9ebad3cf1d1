"""Files that hold a secret: created whole, for their owner only, never overwritten; it must not know what is in them."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

MAX_PRIVATE_BYTES = 64 << 10


class KeyFileError(ValueError):
    """A key file cannot be used: missing, unreadable, malformed, or open to others. The message names the file and the fix."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


def write_private(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Create `path` with `content`, durably and all at once; it never replaces a file. Raises KeyFileError when it exists, OSError.

    The draft beside it is linked into place, so that a crash leaves either the whole file or none.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        raise KeyFileError(path, "exists already and is never overwritten; move it away first") from None
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_public(path: Path, content: bytes) -> None:
    """As `write_private`, readable by all: certificates, public keys, keysets."""
    write_private(path, content, mode=0o644)


def read_private(path: Path, *, dev: bool) -> bytes:
    """The content (at most 64 KiB) of a regular file, reached without following a link in its last part. Raises KeyFileError.

    Unless `dev`, refuses a file that anybody but its owner can read or write, or whose owner is neither this process nor root.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileError(path, f"cannot be read: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise KeyFileError(path, "is not a regular file")
        if not dev:
            _check_closed(path, found)
        content = b""
        while len(content) <= MAX_PRIVATE_BYTES and (chunk := os.read(descriptor, MAX_PRIVATE_BYTES + 1)):
            content += chunk
    except OSError as error:
        raise KeyFileError(path, f"cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(content) > MAX_PRIVATE_BYTES:
        raise KeyFileError(path, f"is larger than {MAX_PRIVATE_BYTES} bytes")
    return content


def check_closed(path: Path) -> None:
    """Refuse a private file others can reach, without reading it. Raises KeyFileError."""
    try:
        found = path.lstat()
    except OSError as error:
        raise KeyFileError(path, f"cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise KeyFileError(path, "is not a regular file")
    _check_closed(path, found)


def _check_closed(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise KeyFileError(path, f"others can reach it (mode {mode:04o}); run: chmod 600 {path}")
    if found.st_uid not in (os.geteuid(), 0):
        raise KeyFileError(path, f"belongs to uid {found.st_uid}; run: chown {os.geteuid()} {path}")


def sync_directory(path: Path) -> None:
    """Make names just created or replaced in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
