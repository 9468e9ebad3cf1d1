"""Reads files that stand where code of the source may have run: a link, a pipe or a flood there must neither be followed nor waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lockgate.job.drivers.port import StageRefused

_CHUNK = 1 << 20


def contents(path: Path, limit: int, what: str) -> bytes | None:
    """The bytes of a regular file, or None when nothing is there. Raises StageRefused naming `what`: another kind of file, or more than `limit` bytes."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StageRefused(f"{what} cannot be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise StageRefused(f"{what} cannot be read: it is no regular file")
        # Unbuffered, from the descriptor that was looked at.
        data = bytearray()
        while len(data) <= limit and (chunk := os.read(handle, _CHUNK)):
            data += chunk
    except OSError as error:
        raise StageRefused(f"{what} cannot be read: {error.strerror}") from None
    finally:
        os.close(handle)
    if len(data) > limit:
        raise StageRefused(f"{what} is larger than {limit >> 20} MiB; split the root module")
    return bytes(data)
