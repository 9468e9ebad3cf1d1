"""Which directories a pod must have that it can write to, for a stage's files to be placed in them; it makes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from lockgate.contract import jobplaces
from lockgate.runner.sandbox.port import Bind, SandboxSpec
from lockgate.runner.sandbox.profile import SCRATCH, WORK

_SPARE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Volume:
    """An empty directory at ``path``; in ``memory`` where what is written there must never reach a disk. ``size_bytes`` caps it."""

    path: str
    memory: bool
    size_bytes: int


def volumes(spec: SandboxSpec) -> tuple[Volume, ...]:
    """Scratch space, and a directory for each bind and, in memory, for each injected file, by path. The job root is the image's own.

    A directory may lie in another one (/work/state in /work).
    """
    limits = spec.limits
    found = {place: Volume(place, place == "/dev/shm", limits.disk_bytes) for place in SCRATCH}
    for bind in spec.binds:
        place = _place(bind)
        if bind.target != jobplaces.SANDBOX_ROOT and not any(_below(place, other) for other in found):
            found[place] = Volume(place, False, max(limits.disk_bytes, limits.file_bytes))
    for file in spec.files:
        place = str(PurePosixPath(file.target).parent)
        held = found[place].size_bytes if place in found and found[place].memory else _SPARE_BYTES
        found[place] = Volume(place, True, held + len(file.content))
    return tuple(found[place] for place in sorted(found))


def _place(bind: Bind) -> str:
    return bind.target if bind.source.is_dir() else str(PurePosixPath(bind.target).parent)


def _below(place: str, other: str) -> bool:
    return place == other or (other == WORK and place.startswith(WORK + "/"))
