"""Where a runner's pods were put, kept in its journal: after a restart they are looked for there. It must not forget before an end was proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lockgate.runner.enclosure import enclosure_of
from lockgate.runner.journal import Journal


@dataclass(frozen=True)
class JournaledPods:
    """A ``PodMemory``. ``secret``: the region's, asked when it is needed and not before."""

    journal: Journal
    secret: Callable[[], bytes]

    def remember(self, sandbox: str, place: Mapping[str, str]) -> None:
        """On disk when it returns. Raises JournalError."""
        self.journal.sandbox_placed(sandbox, place)

    def places(self) -> Mapping[str, Mapping[str, str]]:
        """Of every attempt whose end is not proven."""
        return self.journal.places

    def enclosure_of(self, sandbox: str) -> str | None:
        """That of its attempt, of which the journal knows from before the sandbox was ordered."""
        attempt = self.journal.attempt_of(sandbox)
        return enclosure_of(self.secret(), attempt) if attempt is not None else None
