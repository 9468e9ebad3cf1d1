"""Readers: a home, a deployment on free ports, and what they started is gone afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.docs.reader import Reader
from tests.ports import free_ports


def _roots() -> Path:
    """One place for the job roots of all test deployments: they are named by their content."""
    base = Path("/var/lib/lockgate") if os.geteuid() == 0 else Path.home() / ".cache" / "lockgate"
    path = base / "test-roots"
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="module")
def readers() -> Callable[[], AbstractContextManager[Reader]]:
    """Makes a reader with a deployment of its own."""

    @contextmanager
    def make() -> Iterator[Reader]:
        public, runners = free_ports(2)
        reader = Reader((public, runners), _roots())
        try:
            yield reader
        finally:
            reader.close()

    return make
