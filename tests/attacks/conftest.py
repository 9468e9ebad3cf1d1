"""The attackers meet the same gateways and runners as the invariants do; those inside a sandbox meet a world of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.attacks.egress_world import World
from tests.invariants.conftest import gate, job_root, library, region, strict, works
from tests.pods import loopback, reachable

__all__ = ["gate", "job_root", "library", "loopback", "reachable", "region", "strict", "works", "world"]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One for each module: what its resolver was told stays told. A short path, for the sockets' sake."""
    with tempfile.TemporaryDirectory(prefix="egress-") as place:
        made = World(Path(place))
        yield made
        made.close()
