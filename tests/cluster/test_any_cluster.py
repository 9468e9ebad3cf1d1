"""The tests that need no node take any cluster by its kubeconfig; those that do say so, and neither skip nor touch another one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import images, lifecycle
from tests.cluster.place import ClusterError, Place
from tests.cluster.programs import built

pytestmark = [pytest.mark.kubernetes, pytest.mark.node]

HERE = "tests/cluster"
BY_DIGEST = "LOCKGATE_JOB_IMAGE must name the job's image on this cluster by digest"
TAKES_ANY = (
    f"{HERE}/test_network.py::test_a_pod_behind_deny_all_reaches_nothing_but_through_the_one_hole",
    f"{HERE}/test_admission.py::test_a_quota_of_one_pod_is_kept",
)
NEEDS_THE_NODE = f"{HERE}/test_node.py::test_a_pod_outlives_the_death_of_everything_that_manages_it"


@pytest.fixture(scope="module")
def other() -> Iterator[dict[str, str]]:
    """A cluster that its users know by kubeconfig alone, as their environment."""
    place = Place(Path("/var/lib/lockgate-cluster-2nd"), number=1)
    lifecycle.up(place, built())
    try:
        image = images.bring(place).pinned
        found = {"KUBECONFIG": str(place.kubeconfig), "LOCKGATE_CLUSTER_HOST": place.node_ip}
        yield {**os.environ, **found, "LOCKGATE_JOB_IMAGE": image}
    finally:
        lifecycle.down(place)


def outcome_of(root: Path, environment: dict[str, str], *names: str) -> str:
    """What a run of these tests says at its end."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names]
    return subprocess.run(argv, cwd=root, env=environment, capture_output=True, text=True, check=False).stdout


def first_failure(told: str) -> str:
    """What failed in such a run, in one line, and then all it said."""
    lines = told.splitlines()
    return next((line for line in lines if line.startswith(("FAILED", "ERROR"))), lines[-1]) + f"\n{told}"


def test_any_cluster_serves_the_tests_that_need_no_node(root: Path, other: dict[str, str]) -> None:
    told = outcome_of(root, other, *TAKES_ANY)
    assert f"{len(TAKES_ANY)} passed" in told.splitlines()[-1], first_failure(told)


def test_a_test_that_needs_the_node_fails_and_says_which_to_leave_out(root: Path, other: dict[str, str]) -> None:
    told = outcome_of(root, other, NEEDS_THE_NODE)
    assert "with KUBECONFIG, run -m 'kubernetes and not node'" in told, first_failure(told)
    assert "1 error" in told.splitlines()[-1], first_failure(told)


def test_a_run_whose_image_is_not_named_by_digest_is_refused(root: Path, other: dict[str, str]) -> None:
    told = outcome_of(root, {**other, "LOCKGATE_JOB_IMAGE": "lockgate.test/job:latest"}, TAKES_ANY[0])
    assert BY_DIGEST in told, first_failure(told)
    assert "1 error" in told.splitlines()[-1], first_failure(told)


@pytest.mark.parametrize("given", ["", "lockgate.test/job:latest", "lockgate.test/job@md5:0"])
def test_an_image_that_is_not_named_by_digest_is_refused(given: str) -> None:
    with pytest.raises(ClusterError, match=BY_DIGEST):
        images.named(given)
