"""The built-in library with a deployment's own data file: what a laptop runs. Nobody signs it, so it exists under the dev stamp only."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from lockgate.policy.bundle import load_library
from lockgate.policy.bundles.layout import bundle_files
from lockgate.policy.sources.port import Fetched

DATA_FILE: Final = "data.yaml"


def data_file(path: Path) -> Path:
    """The policy data file that the settings' path means: itself, or `data.yaml` in it."""
    return path / DATA_FILE if path.is_dir() else path


class LibrarySource:
    """Looks at the data file; the library is this program's own."""

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self._path = path
        self._seen: tuple[int, int, int] | str = ""

    @property
    def name(self) -> str:
        """The data file."""
        return str(data_file(self._path))

    async def look(self) -> Fetched | None:
        """See BundleSource.look."""
        return await asyncio.to_thread(self._look)

    def forget(self) -> None:
        """See BundleSource.forget."""
        self._seen = ""

    def _look(self) -> Fetched | None:
        path = data_file(self._path)
        stamp = _stamp(path)
        if stamp == self._seen:
            return None
        self._seen = stamp
        return Fetched(str(path), bundle_files(load_library(path)))


def _stamp(path: Path) -> tuple[int, int, int] | str:
    try:
        stat = path.stat()
    except OSError as error:
        return error.strerror or "missing"
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
