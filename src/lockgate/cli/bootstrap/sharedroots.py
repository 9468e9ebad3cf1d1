"""Where the dev deployments of one user share job roots, so that only the first start builds one; it must not accept a place that others write."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SYSTEM_PLACE: Final = Path("/var/lib/lockgate")


class SharedRootsRefused(ValueError):
    """Whoever writes there could change what later jobs run; the message says which directory and what to do."""


def roots_place(environment: Mapping[str, str], *, root: bool) -> Path:
    """As root a place that the sandboxes' uids reach; else the user's cache (XDG base directories: a relative path does not count)."""
    cache = environment.get("XDG_CACHE_HOME", "")
    user = Path(cache) if cache.startswith("/") else Path.home() / ".cache"
    return (SYSTEM_PLACE if root else user / "lockgate") / "roots"


def shared_roots(place: Path, *, root: bool) -> Path | None:
    """Make `place` or check that it is this user's alone; None where it cannot be made, and every deployment builds its own.

    Raises SharedRootsRefused.
    """
    try:
        for directory in (*reversed(place.parents), place):
            if not directory.is_dir():
                directory.mkdir(mode=0o711 if root else 0o700)
                # Not what a umask makes of it: as root other uids pass through, and nobody else writes.
                directory.chmod(0o711 if root else 0o700)
    except FileExistsError:
        return shared_roots(place, root=root) if place.is_dir() else None
    except OSError:
        return None
    for directory in (place, place.parent):
        _check_own(directory)
    for directory in place.parents:
        _check_passed(directory, root=root)
    return place


def _check_own(directory: Path) -> None:
    state = directory.lstat()
    if not stat.S_ISDIR(state.st_mode):
        raise SharedRootsRefused(f"{directory}: is not a directory of its own; remove it")
    if state.st_uid != os.geteuid():
        raise SharedRootsRefused(f"{directory}: belongs to another user; remove it, or set XDG_CACHE_HOME")
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SharedRootsRefused(
            f"{directory}: can be written by others, who could change what jobs run; remove it, then chmod go-w its parent"
        )


def _check_passed(directory: Path, *, root: bool) -> None:
    state = directory.stat()
    if state.st_mode & stat.S_IWOTH and not state.st_mode & stat.S_ISVTX:
        raise SharedRootsRefused(f"{directory}: can be written by everybody; run: chmod o-w {directory}")
    if root and not state.st_mode & stat.S_IXOTH:
        raise SharedRootsRefused(f"{directory}: cannot be searched by the sandboxes' uids; run: chmod o+x {directory}")
