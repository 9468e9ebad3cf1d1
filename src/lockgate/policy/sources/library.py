"""The built-in library with a deployment's own data file and rules: what a laptop runs. Nobody signs it, so it exists under the dev stamp only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from lockgate.policy.building import build_policy
from lockgate.policy.bundle import PolicyBundle, load_library, read_data
from lockgate.policy.bundles.layout import bundle_files
from lockgate.policy.opa import OpaFailed, OpaMissing, find_opa
from lockgate.policy.own import MAX_FILES, rego_and_data
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.sources.port import Fetched

DATA_FILE: Final = "data.yaml"
OWN: Final = "own"
"""The folder beside the data file whose Rego is built in, so that whoever writes a rule sees it live."""

Stamp = tuple[tuple[str, int, int, int] | str, ...]


def data_file(path: Path) -> Path:
    """The policy data file that the settings' path means: itself, or `data.yaml` in it."""
    return path / DATA_FILE if path.is_dir() else path


def own_folders(data: Path) -> list[Path]:
    """The folder of Rego that belongs to a data file, where there is any in it."""
    folder = data.parent / OWN
    return [folder] if any(path.suffix == ".rego" for path in rego_and_data(folder)) else []


def policy_of(data: Path, folders: Sequence[Path]) -> PolicyBundle:
    """The library with a data file and the Rego in `folders`; only that takes the `opa` program, and seconds. Raises PolicyLoadError, OpaMissing, OpaFailed."""
    return build_policy(read_data(data), str(data), folders, find_opa()) if folders else load_library(data)


class LibrarySource:
    """Looks at the data file and the folder beside it; the library is this program's own."""

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self._path = path
        self._seen: Stamp = ()

    @property
    def name(self) -> str:
        """The data file."""
        return str(data_file(self._path))

    async def look(self) -> Fetched | None:
        """See BundleSource.look."""
        return await asyncio.to_thread(self._look)

    def forget(self) -> None:
        """See BundleSource.forget."""
        self._seen = ()

    def _look(self) -> Fetched | None:
        path = data_file(self._path)
        stamp = (_stamp(path), *map(_stamp, islice(rego_and_data(path.parent / OWN), MAX_FILES)))
        if stamp == self._seen:
            return None
        self._seen = stamp
        try:
            return Fetched(str(path), bundle_files(policy_of(path, own_folders(path))))
        except OpaMissing as missing:
            self._seen = ()  # it is looked for again
            raise PolicyLoadError(str(path.parent / OWN), f"holds rules, and {missing}") from None
        except OpaFailed as failed:
            raise PolicyLoadError(str(path.parent / OWN), str(failed)) from None


def _stamp(path: Path) -> tuple[str, int, int, int] | str:
    try:
        stat = path.stat()
    except OSError as error:
        return error.strerror or "missing"
    return str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino
