"""A kept state on its way into an apply sandbox and back; it must not be in two sandboxes, nor be forgotten in one (TRUST §5).

In the sandbox it is one file, bound from real disk: what the tool wrote survives the death of sandbox and runner, and one file cannot outgrow
its limit or hold a link. While it is out, a note beside the kept versions says where, and no other apply of the target is handed anything.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lockgate.artifacts.files import read_regular, write_whole
from lockgate.keys.privatefile import sync_directory
from lockgate.runner.keeping.states import MAX_STATE_BYTES, KeptState, StateKeeper, StateRefused

STATE_FILE: Final = "terraform.tfstate"
_NOTE: Final = "handed-out.json"
_MAX_NOTE_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class HandedOut:
    """Whose state is out, for which attempt, and the file it is in."""

    tenant: str
    target: str
    attempt: str
    file: Path


def hand_out(keeper: StateKeeper, tenant: str, target: str, attempt: str, directory: Path) -> HandedOut:
    """Put the newest version (or nothing) into a new file below `directory`, and note it first. Raises StateRefused, OSError. Blocks."""
    newest = at_home(keeper, tenant, target)
    place = keeper.place(tenant, target)
    place.mkdir(mode=0o700, exist_ok=True)
    out = HandedOut(tenant, target, attempt, directory / STATE_FILE)
    note = {"tenant": tenant, "target": target, "attempt": attempt, "file": str(out.file)}
    write_whole(place / _NOTE, json.dumps(note).encode())
    directory.mkdir(mode=0o711)
    write_whole(out.file, newest.data if newest is not None else b"")
    return out


def at_home(keeper: StateKeeper, tenant: str, target: str) -> KeptState | None:
    """The newest version, which nobody has been handed. Raises StateRefused, OSError."""
    newest = keeper.current(tenant, target)
    if (other := _noted(keeper.place(tenant, target))) is not None:
        raise StateRefused(
            f"state: that of {target!r} is still with the attempt {other.attempt}, in {other.file}; it must come back first"
            " (start this runner again)"
        )
    return newest


def take_back(keeper: StateKeeper, out: HandedOut) -> KeptState | None:
    """What the tool left, as the newest version, on disk before this returns; then the file is wiped. None: there still is no state.

    An empty file says that nothing was written only where an empty one was handed out: engines truncate a state before they write it.
    Only after the sandbox is gone. May be called again after a crash at any point. Raises StateRefused (the bytes are kept aside), OSError.
    """
    who = (out.tenant, out.target)
    data: bytes | None
    try:
        data = read_regular(out.file, MAX_STATE_BYTES)
    except FileNotFoundError:
        data = None  # the crash came before the file was made, or after it was taken back and wiped
    if data == b"" and not keeper.began(*who):
        data = None
    try:
        newest = keeper.keep(*who, data) if data is not None else keeper.current(*who)
    except StateRefused:
        _close(keeper, out)  # what was brought is kept aside by now
        raise
    _close(keeper, out)
    return newest


def still_out(keeper: StateKeeper) -> list[HandedOut]:
    """What was handed out and never came back: after a crash, of attempts whose sandboxes must be gone first. Raises StateRefused, OSError."""
    noted = (_noted(place) for place in keeper.places())
    return [out for out in noted if out is not None]


def _noted(place: Path) -> HandedOut | None:
    try:
        note = json.loads(read_regular(place / _NOTE, _MAX_NOTE_BYTES))
        return HandedOut(note["tenant"], note["target"], note["attempt"], Path(note["file"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StateRefused(
            f"state: {place / _NOTE} cannot be read ({error}); it says which file holds the state"
        ) from None


def _close(keeper: StateKeeper, out: HandedOut) -> None:
    """Remove and wipe the plain file, then take the note away: after a crash in between the note is left, and taking back again finds no file."""
    try:
        descriptor = os.open(out.file, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = -1
    if descriptor >= 0:
        try:
            out.file.unlink()
            os.pwrite(descriptor, b"\0" * os.fstat(descriptor).st_size, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    place = keeper.place(out.tenant, out.target)
    (place / _NOTE).unlink(missing_ok=True)
    sync_directory(place)
