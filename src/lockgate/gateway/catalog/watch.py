"""Holds the catalog in force and swaps it when its files change; it must not let a broken file replace a good catalog."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

from lockgate.gateway.catalog.errors import CatalogErrors
from lockgate.gateway.catalog.load import Drivers, catalog_files, load_directory
from lockgate.gateway.catalog.model import Catalog


def fingerprint(directory: Path) -> str:
    """A digest of names, modification times, sizes and inodes of the catalog's files; cheap enough to ask every second."""
    try:
        lines = []
        for path in catalog_files(directory):
            stat = path.stat()
            lines.append(f"{path.name}\0{stat.st_mtime_ns}\0{stat.st_size}\0{stat.st_ino}")
    except (CatalogErrors, OSError) as error:
        lines = [f"unreadable\0{error}"]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


class CatalogHolder:
    """The catalog in force. The first load raises; later ones keep the old catalog and remember why in `last_error`."""

    def __init__(self, directory: Path, drivers: Drivers) -> None:
        """Load the directory. Raises CatalogErrors."""
        self._directory = directory
        self._drivers = drivers
        self._seen = fingerprint(directory)
        self._current = load_directory(directory, drivers)
        self._last_error: CatalogErrors | None = None

    @property
    def current(self) -> Catalog:
        """The last catalog without a fault; read it once per call and keep using that."""
        return self._current

    @property
    def last_error(self) -> CatalogErrors | None:
        """Why the files as they are now were not taken; None when `current` is what they say."""
        return self._last_error

    def changed(self) -> bool:
        """True when the files differ from those of the last load, good or bad."""
        return fingerprint(self._directory) != self._seen

    def reload(self) -> Catalog:
        """Load again. Raises CatalogErrors, and then `current` stays as it was and `last_error` says why."""
        self._seen = fingerprint(self._directory)
        try:
            catalog = load_directory(self._directory, self._drivers)
        except CatalogErrors as errors:
            self._last_error = errors
            raise
        self._current, self._last_error = catalog, None
        return catalog


async def follow(holder: CatalogHolder, interval: float, report: Callable[[Catalog | CatalogErrors], None]) -> None:
    """Poll every `interval` seconds until cancelled; parse off the loop; report each new catalog and each refusal, once each."""
    while True:
        await asyncio.sleep(interval)
        if not await asyncio.to_thread(holder.changed):
            continue
        try:
            outcome: Catalog | CatalogErrors = await asyncio.to_thread(holder.reload)
        except CatalogErrors as errors:
            outcome = errors
        report(outcome)
