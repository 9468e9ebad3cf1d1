"""Policy keepers over sources of a test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lockgate.gateway.policykeeping import PolicyKeeper, Trust
from lockgate.policy.acceptance import Acceptance
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.embedded import complete_engine
from lockgate.policy.freshness import Clocks
from lockgate.policy.inforce import PolicyInForce
from lockgate.policy.port import PolicyEngine
from lockgate.policy.sources.library import LibrarySource
from lockgate.policy.sources.port import BundleSource


@dataclass
class Time:
    """Two clocks to be set by hand, in seconds."""

    wall: float = 1_795_000_000
    elapsed: float = 0

    @property
    def clocks(self) -> Clocks:
        """As the keeper takes them."""
        return Clocks(lambda: self.wall, lambda: self.elapsed)

    def pass_(self, seconds: float) -> None:
        """Time goes by."""
        self.wall += seconds
        self.elapsed += seconds


def keeper(
    source: BundleSource,
    trust: Trust,
    time: Time | None = None,
    make: Callable[[PolicyBundle], PolicyEngine] = complete_engine,
) -> PolicyKeeper:
    """With the real engine, and clocks that stand still unless the test moves them."""
    clocks = (time or Time()).clocks
    return PolicyKeeper(PolicyInForce(clocks), source, trust, make, clocks, pause=0.001, jitter=lambda: 0.0)


def library_keeper(path: Path) -> PolicyKeeper:
    """As on a laptop: the library with the data at `path`, signed by nobody."""
    return keeper(LibrarySource(path), Trust(Acceptance(signed=False)))
