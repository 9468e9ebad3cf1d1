"""Fixtures of tests that need a Kubernetes: the cluster that stands, or one started for this run and ended with it; they never skip."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.node import Node
from tests.cluster.place import ClusterError, standing
from tests.cluster.running import Cluster

from lockgate.runner.image.archive import Image


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that KUBECONFIG names, else the standing one of this machine, started if it does not stand and then ended after the run.

    A test that uses it carries the marker `kubernetes`.
    """
    from tests.cluster import lifecycle
    from tests.cluster.programs import built

    programs, place = built(), standing()
    given = os.environ.get("KUBECONFIG")
    if given and Path(given) != place.kubeconfig:
        yield Cluster(Path(given), programs.kubernetes, None)
        return
    with lifecycle.held(place, programs):
        yield Cluster(place.kubeconfig, programs.kubernetes, place)


@pytest.fixture(scope="session")
def job_image(cluster: Cluster) -> Image:
    """The job's image of this work tree, present on the node; `pinned` names it by digest. For a cluster of KUBECONFIG: LOCKGATE_JOB_IMAGE."""
    from tests.cluster import images

    if cluster.place is None:
        return images.named(os.environ.get("LOCKGATE_JOB_IMAGE", ""))
    return images.bring(cluster.place)


@pytest.fixture
def cluster_node(cluster: Cluster) -> Iterator[Node]:
    """The node itself, whose parts a test may kill; they run again afterwards. Such a test carries the marker `node` as well."""
    if cluster.place is None:
        raise ClusterError(
            "this test needs the node, which is not this machine: with KUBECONFIG, run -m 'kubernetes and not node'"
        )
    node = Node(cluster.place, cluster.kubernetes)
    try:
        yield node
    finally:
        node.mend()
