"""A cluster starts once, ends whole, and leaves the machine as it was, also after deaths; on a second cluster beside the one that others use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import leftovers, lifecycle, machine, parts, processes, settings
from tests.cluster.node import Node
from tests.cluster.place import ClusterError, Place, standing
from tests.cluster.pods import restricted
from tests.cluster.programs import built
from tests.cluster.running import Cluster, until


@pytest.fixture
def place() -> Iterator[Place]:
    """Room for a second cluster, with nothing left of it afterwards even if a test failed."""
    found = Place(Path("/var/lib/lockgate-cluster-2nd"), number=1)
    yield found
    lifecycle.down(found)


def with_a_pod(place: Place) -> tuple[Cluster, str]:
    """The cluster at this place with a pod that runs, and the pod's UID."""
    cluster = Cluster(place.kubeconfig, built().kubernetes, place)
    pod = restricted("waits", settings.PAUSE_IMAGE, "")
    del pod["spec"]["containers"][0]["command"]  # the image's own: it waits, and is there without being brought
    made = cluster.api.ask("POST", "/api/v1/namespaces/default/pods", pod)
    until(lambda: cluster.pod_phase("default", "waits") == "Running")
    return cluster, str(made["metadata"]["uid"])


def new_mounts(before: str) -> list[str]:
    """What is mounted here that was not."""
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if line not in before]


@pytest.mark.kubernetes
@pytest.mark.node
def test_a_cluster_that_ends_leaves_nothing(cluster: Cluster, place: Place) -> None:
    mounts, forwards = Path("/proc/self/mounts").read_text(), machine.FORWARD.read_text()
    assert lifecycle.up(place, built())
    assert not lifecycle.up(place, built()), "a second start finds the first"
    second, uid = with_a_pod(place)
    node = Node(place, second.kubernetes)
    assert node.pod_processes(uid)
    assert node.pod_cgroups(uid)
    assert [each["name"] for each in node.sandboxes("default")] == ["waits"]
    assert len(leftovers.found(place)) > len(parts.STARTS), "what is looked for is there to be found"
    lifecycle.down(place)
    assert leftovers.found(place) == []
    assert node.pod_processes(uid) == set()
    assert machine.FORWARD.read_text() == forwards
    until(lambda: not new_mounts(mounts))  # a neighbour that tests mounts takes its own away again
    lifecycle.down(place)  # a second end finds nothing to do
    assert cluster.place is not None
    lifecycle.wait_ready(cluster.place)  # the other cluster was not touched


@pytest.mark.kubernetes
@pytest.mark.node
@pytest.mark.parametrize("dead", [("kubelet", "containerd"), (parts.HOLDER, *parts.STARTS)], ids=["two", "all"])
def test_a_cluster_whose_parts_died_is_ended_as_cleanly(place: Place, dead: tuple[str, ...]) -> None:
    lifecycle.up(place, built())
    _, uid = with_a_pod(place)
    for part in dead:
        processes.kill(place, part)
    assert Node(place, built().kubernetes).pod_processes(uid), "the pod outlives what started it"
    lifecycle.down(place)
    assert leftovers.found(place) == []


@pytest.mark.kubernetes
@pytest.mark.node
def test_a_start_brings_back_what_died_and_all_that_was_there(place: Place) -> None:
    lifecycle.up(place, built())
    cluster, uid = with_a_pod(place)
    for part in parts.STARTS:
        processes.kill(place, part)
    assert not lifecycle.up(place, built())
    (pod,) = cluster.api.ask("GET", "/api/v1/namespaces/default/pods")["items"]
    assert pod["metadata"]["uid"] == uid
    assert Node(place, cluster.kubernetes).pod_processes(uid)
    processes.kill(place, parts.HOLDER)
    assert lifecycle.up(place, built()), "without its mounts nothing can be brought back"
    assert cluster.api.ask("GET", "/api/v1/namespaces/default/pods")["items"] == []


@pytest.mark.kubernetes
@pytest.mark.node
def test_a_cluster_of_the_same_number_elsewhere_is_left_alone(cluster: Cluster, place: Place) -> None:
    elsewhere = Place(place.home)
    for meddle in (lambda: lifecycle.up(elsewhere, built()), lambda: lifecycle.down(elsewhere)):
        with pytest.raises(ClusterError, match=f"cluster 0 of this machine lives at {standing().home}: end it by"):
            meddle()
    assert cluster.place is not None
    lifecycle.wait_ready(cluster.place)


@pytest.mark.kubernetes
@pytest.mark.node
def test_a_cluster_of_other_programs_is_left_alone(cluster: Cluster, tmp_path: Path) -> None:
    assert cluster.place is not None
    with pytest.raises(ClusterError, match="a cluster of other programs runs here; end it first: make cluster-down"):
        lifecycle.up(cluster.place, parts.Programs(tmp_path / "kubernetes", tmp_path / "pod"))
    lifecycle.wait_ready(cluster.place)


def test_who_is_not_root_is_told_the_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="start this with sudo, or name a cluster in KUBECONFIG"):
        machine.require()


def test_what_is_missing_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("runc", "nft") else f"/usr/bin/{name}")
    monkeypatch.setattr(machine, "PLUGIN_FOLDERS", ())
    with pytest.raises(
        ClusterError, match="missing: containernetworking-plugins, nftables, runc; run: tools/setup cluster"
    ):
        machine.require()


def test_a_home_whose_sockets_would_have_too_long_a_name_is_refused() -> None:
    with pytest.raises(ClusterError, match="LOCKGATE_CLUSTER="):
        Place(Path("/tmp") / ("x" * 60))
