"""Sealed artifacts as files of one directory, found by what they are; it must not keep one that was destroyed, nor answer with another's bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Final

from lockgate.artifacts.envelope import KEY_END, RegionSealer, Unreadable, aad
from lockgate.artifacts.errors import ArtifactDamaged, ArtifactMissing
from lockgate.artifacts.files import read_regular, write_whole
from lockgate.keys.privatefile import sync_directory

MAX_ARTIFACT_BYTES: Final = 64 << 20
MAX_SWEPT: Final = 1000
_SUFFIX: Final = ".sealed"


class SealedDirectory:
    """An `ArtifactStore` (see runner/keeping/port.py) below `directory` (0700). Runners of one region may share it: they have the same key."""

    def __init__(self, directory: Path, region_secret: bytes, random: Callable[[int], bytes]) -> None:
        self._directory = directory
        self._sealer = RegionSealer(region_secret, "artifact", random)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, names: tuple[str, ...], data: bytes) -> str:
        """Keep `data`; its digest (`sha256:` hex). On disk before this returns; the same again changes nothing. Raises OSError, ValueError."""
        if len(data) > MAX_ARTIFACT_BYTES:
            raise ValueError(f"an artifact of {len(data)} bytes; at most {MAX_ARTIFACT_BYTES} are kept")
        digest = sha256_of(data)
        bound = (*names, digest)
        write_whole(self._path(bound), self._sealer.seal(data, bound))
        return digest

    def get(self, names: tuple[str, ...], digest: str) -> bytes:
        """The bytes, whose digest was computed anew. Raises ArtifactMissing, ArtifactDamaged, OSError."""
        bound = (*names, digest)
        path = self._path(bound)
        try:
            sealed = read_regular(path, MAX_ARTIFACT_BYTES + KEY_END + 64)
        except FileNotFoundError:
            raise ArtifactMissing(f"{digest} is not kept here") from None
        try:
            data = self._sealer.open(sealed, bound)
        except Unreadable as error:
            raise ArtifactDamaged(f"{digest} {error}") from None
        if sha256_of(data) != digest:
            raise ArtifactDamaged(f"{digest} holds other bytes")
        return data

    def destroy(self, names: tuple[str, ...], digest: str) -> None:
        """Overwrite the key, then remove the file; idempotent. Raises OSError."""
        _erase(self._path((*names, digest)))

    def sweep(self, older_than: float) -> int:
        """Destroy what was put before `older_than` (Unix seconds), at most MAX_SWEPT at a time; how many. Raises OSError."""
        with os.scandir(self._directory) as listing:
            old = (
                Path(found.path)
                for found in listing
                if found.is_file(follow_symlinks=False) and found.stat(follow_symlinks=False).st_mtime < older_than
            )
            taken = list(islice(old, MAX_SWEPT))
        for path in taken:
            _erase(path)
        return len(taken)

    def _path(self, bound: tuple[str, ...]) -> Path:
        return self._directory / (hashlib.sha256(aad(bound)).hexdigest() + _SUFFIX)


def _erase(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.pwrite(descriptor, b"\0" * KEY_END, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sha256_of(data: bytes) -> str:
    """`sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
