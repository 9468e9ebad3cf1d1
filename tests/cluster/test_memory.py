"""A runner that died and came back: what it had put on a node is looked for there, though the cluster's objects tell of nothing any more."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cluster.attempts import proven, soon
from tests.cluster.identity import Identity
from tests.cluster.node import Node
from tests.cluster.providers import made
from tests.cluster.running import Cluster
from tests.cluster.test_provider import WAITS

from lockgate.runner.enclosure import enclosure_of
from lockgate.runner.image.archive import Image
from lockgate.runner.journal import Journal
from lockgate.runner.sandbox.kubernetes.objects import namespace_name
from lockgate.runner.sandbox.kubernetes.provider import KubernetesSandbox
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot
from lockgate.runner.whereabouts import JournaledPods
from lockgate.testing.sandbox import Bench

pytestmark = [pytest.mark.kubernetes, pytest.mark.node]
SECRET, ATTEMPT = b"r" * 32, "att_" + secrets.token_hex(8)
SHORT = 4


async def test_after_a_restart_nothing_is_gone_before_its_node_says_so(
    cluster: Cluster, runner: Identity, job_image: Image, cluster_node: Node, tmp_path: Path
) -> None:
    """Node and runner die together; meanwhile somebody tears namespace and pod out of the API by force."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.first_sight(ATTEMPT, "grant")

    def process(name: str = "") -> KubernetesSandbox:
        found = made(cluster, runner, job_image.pinned, name, teardown_seconds=SHORT)
        found._cluster = replace(found._cluster, memory=JournaledPods(journal, lambda: SECRET))
        return found

    first = process()
    bench = Bench(first, JobRoot(Path(INSIDE), "", {}), tmp_path, enclosure_of(SECRET, ATTEMPT), copies=True)
    spec, place = bench.spec(WAITS), namespace_name(bench.enclosure)
    journal.sandbox_started(ATTEMPT, spec.id)
    await first.start(spec)
    (pod,) = cluster.api.ask("GET", f"/api/v1/namespaces/{place}/pods")["items"]
    uid = pod["metadata"]["uid"]
    cluster_node.kill("kubelet")
    await first._enclosures[bench.enclosure].watch.close()
    await first._hosts.close()  # as its death would: it hangs up, and orders nothing
    await first._cluster.api.close()
    journal.close()
    cluster.kubectl("delete", "namespace", place, "--wait=false")
    cluster.kubectl("delete", "pod", "--all", "-n", place, "--force", "--grace-period=0")
    await soon(lambda: cluster.kubectl("get", "namespace", place, check=False).returncode, 1)
    journal = Journal(tmp_path / "journal.jsonl")
    again = process(first._cluster.runner)

    async def torn_down() -> bool:
        return (await again.destroy(spec.id)).torn_down

    assert await again.reap(()) == [], "the API server knows of nothing"
    assert (await again.destroy(spec.id)).checks == {"pod": True, "processes": False}
    assert (await again.release(bench.enclosure)).checks == {"namespace": True, "processes": False}
    cluster_node.start("kubelet")
    await soon(lambda: cluster_node.pod_processes(uid), set())
    await proven(torn_down, True)
    assert (await again.release(bench.enclosure)).torn_down
    await again.close()
    journal.close()
