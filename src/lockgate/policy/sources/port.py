"""The port through which the gateway gets the files of a policy bundle; it verifies nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Fetched:
    """The files of a bundle as they came, and where from, for messages."""

    name: str
    files: Mapping[str, bytes]


class SourceUnavailable(Exception):
    """Temporary: what the source has could not be brought this time; what is in force stays. Says where, what and why."""


class BundleSource(Protocol):
    """Brings bundles. Belongs to one event loop."""

    @property
    def name(self) -> str:
        """What it is, for messages: a path or a URL without secrets."""
        ...

    async def look(self) -> Fetched | None:
        """What is there now; None if that is what was brought last. Never longer than its deadline; never holds up the loop.

        Raises SourceUnavailable (ask again), PolicyLoadError (what is there is no bundle, and says why).
        """
        ...

    def forget(self) -> None:
        """Bring it again at the next look, changed or not."""
        ...
