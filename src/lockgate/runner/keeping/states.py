"""The states of targets that leave theirs to this runner: versions, encrypted, durable; it must not lose one, nor let one go back (TRUST §5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lockgate.artifacts.envelope import KEY_END, RegionSealer, Unreadable
from lockgate.artifacts.files import read_regular, write_whole
from lockgate.contract.state import StateMark

MAX_STATE_BYTES: Final = 64 << 20
VERSIONS_KEPT: Final = 30
_REJECTED: Final = "rejected-"


class StateRefused(Exception):
    """A state cannot be taken or used; the message says what is wrong and what to do. Nothing was lost: what was brought is kept aside."""


@dataclass(frozen=True, slots=True)
class KeptState:
    """One version of a target's state."""

    version: int
    mark: StateMark
    data: bytes = field(repr=False)


class StateKeeper:
    """States below `directory` (0700), each target's in a directory of its own. Every call blocks: run it in a thread."""

    def __init__(self, directory: Path, region_secret: bytes, random: Callable[[int], bytes]) -> None:
        self._directory = directory
        self._sealer = RegionSealer(region_secret, "state", random)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def current(self, tenant: str, target: str) -> KeptState | None:
        """The newest version, None before the first. Raises StateRefused, OSError."""
        place = self.place(tenant, target)
        if _rejected(place):
            raise StateRefused(
                f"state: what the last apply left of {target!r} could not be taken and is set aside; find out what holds, then say"
                f" `lockgate state accept {target}` or `lockgate state discard {target}` on this runner's machine"
            )
        versions = _versions(place)
        return self._read(place, tenant, target, versions[-1]) if versions else None

    def began(self, tenant: str, target: str) -> bool:
        """Whether there is any version yet."""
        return bool(_versions(self.place(tenant, target)))

    def places(self) -> list[Path]:
        """The directories of all targets that ever had a version or are about to."""
        return sorted(path for path in self._directory.iterdir() if path.is_dir())

    def keep(self, tenant: str, target: str, data: bytes) -> KeptState:
        """Take `data` as the newest version, on disk before this returns. The same as the newest changes nothing.

        Raises StateRefused, with the bytes kept aside, for anything but a later version of the same lineage; OSError.
        """
        place = self.place(tenant, target)
        place.mkdir(mode=0o700, exist_ok=True)
        try:
            newest = self.current(tenant, target)
            if newest is not None and newest.data == data:
                return newest
            mark = read_mark(data)
            check_follows(mark, newest)
        except StateRefused:
            name = f"{_REJECTED}{len(_rejected(place)) + 1}.sealed"
            write_whole(place / name, self._sealer.seal(data, _names(tenant, target, name)))
            raise
        version = newest.version + 1 if newest is not None else 1
        self._write(tenant, target, version, data)
        return KeptState(version, mark, data)

    def rejected(self, tenant: str, target: str) -> list[bytes]:
        """What was set aside, oldest first, for a human to look at. Raises StateRefused, OSError."""
        place = self.place(tenant, target)
        return [self._unsealed(place, tenant, target, name) for name in sorted(_rejected(place))]

    def decide(self, tenant: str, target: str, accept: bool) -> StateMark | None:
        """A human's word on what was set aside: the last of it becomes the newest version whatever came before, or all of it is discarded.

        The mark of the newest version after it. Raises StateRefused (nothing is set aside, or it is no state at all), OSError.
        """
        aside = self.rejected(tenant, target)
        if not aside:
            raise StateRefused(f"state: nothing is set aside for {target!r}")
        place = self.place(tenant, target)
        if accept:
            read_mark(aside[-1])
            self._write(tenant, target, (_versions(place) or [0])[-1] + 1, aside[-1])
        for name in _rejected(place):
            (place / name).unlink()
        current = self.current(tenant, target)
        return current.mark if current is not None else None

    def _read(self, place: Path, tenant: str, target: str, version: int) -> KeptState:
        data = self._unsealed(place, tenant, target, _file_name(version))
        return KeptState(version, read_mark(data), data)

    def _unsealed(self, place: Path, tenant: str, target: str, name: str) -> bytes:
        try:
            sealed = read_regular(place / name, MAX_STATE_BYTES + KEY_END + 64)
            return self._sealer.open(sealed, _names(tenant, target, name))
        except Unreadable as error:
            raise StateRefused(
                f"state: {place / name} {error}; restore it from a copy of this runner's state_dir"
            ) from None

    def _write(self, tenant: str, target: str, version: int, data: bytes) -> None:
        place, name = self.place(tenant, target), _file_name(version)
        write_whole(place / name, self._sealer.seal(data, _names(tenant, target, name)))
        for old in _versions(place)[:-VERSIONS_KEPT]:
            (place / _file_name(old)).unlink(missing_ok=True)

    def place(self, tenant: str, target: str) -> Path:
        """The directory of one target's versions."""
        return self._directory / hashlib.sha256(f"{tenant}\0{target}".encode()).hexdigest()


def read_mark(data: bytes) -> StateMark:
    """Lineage and serial of a state in Terraform's format. Raises StateRefused."""
    if len(data) > MAX_STATE_BYTES:
        raise StateRefused(f"state: holds more than {MAX_STATE_BYTES >> 20} MiB")
    try:
        document: Any = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
        lineage, serial = document["lineage"], document["serial"]
        if type(lineage) is not str or type(serial) is not int:
            raise TypeError("lineage must be a text and serial a number")
        return StateMark(lineage, serial)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateRefused(
            f"state: is not a whole state with lineage and serial ({type(error).__name__}: {error})"
        ) from None


def check_follows(mark: StateMark, newest: KeptState | None) -> None:
    """`mark` is a later version of what is kept: same lineage, and a serial that went forward. Raises StateRefused."""
    if newest is None:
        return
    if mark.lineage != newest.mark.lineage:
        raise StateRefused(f"state: is of lineage {mark.lineage!r}, where {newest.mark.lineage!r} is kept")
    if mark.serial <= newest.mark.serial:
        raise StateRefused(f"state: serial {mark.serial} does not come after {newest.mark.serial}, which is kept")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object repeats a key")
    return found


def _rejected(place: Path) -> list[str]:
    return [name for name in _file_names(place) if name.startswith(_REJECTED)]


def _versions(place: Path) -> list[int]:
    names = _file_names(place)
    return sorted(int(name.removesuffix(".sealed")) for name in names if name.removesuffix(".sealed").isdecimal())


def _file_names(place: Path) -> list[str]:
    return [path.name for path in place.iterdir()] if place.is_dir() else []


def _file_name(version: int) -> str:
    return f"{version:012d}.sealed"


def _names(tenant: str, target: str, name: str) -> tuple[str, ...]:
    return ("state", tenant, target, name)
