"""Readers: a home, a deployment on free ports, and what they started is gone afterwards."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.docs.reader import Reader


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


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
        reader = Reader(_free_ports(), _roots())
        try:
            yield reader
        finally:
            reader.close()

    return make
