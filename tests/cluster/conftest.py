"""Fixtures that several tests of the cluster share: a runner's identity, its provider, and a bench of stages on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cluster.identity import Identity, runner_identity
from tests.cluster.providers import made
from tests.cluster.running import Cluster

from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes.provider import KubernetesSandbox
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot
from lockgate.testing.sandbox import Bench


@pytest.fixture(scope="module")
def runner(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return runner_identity(cluster, tmp_path_factory.mktemp("runner"))


@pytest.fixture
async def provider(cluster: Cluster, runner: Identity, job_image: Image) -> AsyncIterator[KubernetesSandbox]:
    found = made(cluster, runner, job_image.pinned)
    yield found
    await found.close()


@pytest.fixture
def bench(provider: KubernetesSandbox, tmp_path: Path) -> Bench:
    return Bench(provider, JobRoot(Path(INSIDE), "", {}), tmp_path, copies=True)
