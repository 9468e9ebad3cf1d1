"""Pods without a cluster, for the tests of the channel."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.invariants.conftest import job_root
from tests.pods import Loopback, reachable_directory

from lockgate.runner.sandbox.network.hosts import ChannelHosts
from lockgate.runner.sandbox.network.listen import Listen
from lockgate.runner.sandbox.runtime_root import JobRoot

__all__ = ["job_root"]


@pytest.fixture
def scratch() -> Iterator[Path]:
    with reachable_directory() as place:
        yield place


@pytest.fixture
async def cluster(job_root: JobRoot, scratch: Path) -> AsyncIterator[Loopback]:
    hosts = ChannelHosts(Listen("127.0.0.1"), uid_locks=scratch / "uids")
    yield Loopback(job_root, hosts, scratch)
    await hosts.close()
