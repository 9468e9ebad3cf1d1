"""Which directories a pod must have that it can write to, for a stage's files to be placed in them; it makes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from lockgate.contract import jobplaces
from lockgate.contract.podchannel import MAX_DELIVERED_BYTES, MAX_FILES
from lockgate.runner.sandbox.port import Bind, SandboxLimits, SandboxSpec
from lockgate.runner.sandbox.profile import SCRATCH, WORK

_SPARE_BYTES: Final = 1 << 20
_PAGE: Final = 4096
_PLACES: Final = 64
"""Directories that a stage's binds and files may lie in, beside scratch space."""


@dataclass(frozen=True, slots=True)
class Volume:
    """An empty directory at ``path``; in ``memory`` where what is written there must never reach a disk. ``size_bytes`` caps it."""

    path: str
    memory: bool
    size_bytes: int


def volumes(spec: SandboxSpec) -> tuple[Volume, ...]:
    """Scratch space, and a directory for each bind and, in memory, for each injected file, by path. The job root is the image's own.

    A directory may lie in another one (/work/state in /work). What is sent comes on top of what a job may write; for that, each bind is looked through.
    """
    limits = spec.limits
    found = {place: Volume(place, place == "/dev/shm", limits.disk_bytes) for place in SCRATCH}
    for bind in spec.binds:
        if bind.target == jobplaces.SANDBOX_ROOT:
            continue
        place = WORK if bind.target.startswith(WORK + "/") else _place(bind)
        held = found[place].size_bytes if place in found else _SPARE_BYTES
        found[place] = Volume(place, False, held + (limits.file_bytes if bind.writable else _size(bind.source)))
    for file in spec.files:
        place = str(PurePosixPath(file.target).parent)
        held = found[place].size_bytes if place in found and found[place].memory else _SPARE_BYTES
        found[place] = Volume(place, True, held + len(file.content))
    return tuple(found[place] for place in sorted(found))


def most_bytes(limits: SandboxLimits) -> int:
    """What the volumes of any one stage come to at most: an attempt's namespace is bounded before its later stages are known.

    Scratch space, one state that may be written, and all that a pod may be sent, on pages, with a directory for each file.
    """
    scratch = len(SCRATCH) * (limits.disk_bytes + _SPARE_BYTES)
    return scratch + limits.file_bytes + MAX_DELIVERED_BYTES + 2 * MAX_FILES * _PAGE + _PLACES * _SPARE_BYTES


def _place(bind: Bind) -> str:
    return bind.target if bind.source.is_dir() else str(PurePosixPath(bind.target).parent)


def _size(source: Path) -> int:
    """Bytes that the files of a bind take on a file system of pages, the directories too."""
    if not source.is_dir():
        return _pages(source.stat().st_size)
    return sum(
        _PAGE * (1 + len(names)) + sum(_pages((Path(directory) / name).lstat().st_size) for name in files)
        for directory, names, files in os.walk(source)
    )


def _pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
