"""Writes whole files durably for their owner alone, and reads them back with a bound; it must not follow a link."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from lockgate.keys.privatefile import sync_directory


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step, in place of what was there: 0600, on disk before this returns. Raises OSError; then nothing changed."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file with one name, at most `most` bytes. Raises OSError (EFBIG when longer, EINVAL for anything but such a file)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise OSError(22, "is not a regular file with one name", str(path))
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(27, f"holds more than {most} bytes", str(path))
    return data
