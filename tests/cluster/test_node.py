"""What fault tests stand on: parts of the node die and come back, and what runs is seen without asking the API server."""

from __future__ import annotations

import http.client

import pytest
from tests.cluster.node import Node
from tests.cluster.pods import restricted
from tests.cluster.running import Cluster, until

from lockgate.runner.image.archive import Image

pytestmark = [pytest.mark.kubernetes, pytest.mark.node]

# It ends neither by itself nor when asked to.
STAYS = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('there', flush=True)\nwhile True: signal.pause()"


def running(cluster: Cluster, namespace: str, image: Image) -> str:
    """The UID of a pod that runs and ignores SIGTERM."""
    pod = restricted("stays", image.pinned, STAYS)
    made = cluster.api.ask("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    until(lambda: "there" in cluster.logs(namespace, "stays") if _runs(cluster, namespace) else "")
    return str(made["metadata"]["uid"])


def _runs(cluster: Cluster, namespace: str) -> bool:
    return cluster.pod_phase(namespace, "stays") == "Running"


def test_a_force_deleted_pod_has_no_object_and_yet_runs(cluster: Cluster, cluster_node: Node, job_image: Image) -> None:
    with cluster.namespace() as namespace:
        uid = running(cluster, namespace, job_image)
        cluster_node.kill("kubelet")  # so that it is seen for as long as we look
        cluster.kubectl("delete", "pod", "stays", "-n", namespace, "--force", "--grace-period=0", "--wait=false")
        assert cluster.api.ask("GET", f"/api/v1/namespaces/{namespace}/pods")["items"] == []
        assert len(cluster_node.pod_processes(uid)) == 2
        assert [each["uid"] for each in cluster_node.sandboxes(namespace)] == [uid]
        cluster_node.mend()
        until(lambda: not cluster_node.pod_cgroups(uid) and not cluster_node.sandboxes(namespace))
        assert cluster_node.pod_processes(uid) == set()


def test_a_pod_outlives_the_death_of_everything_that_manages_it(
    cluster: Cluster, cluster_node: Node, job_image: Image
) -> None:
    with cluster.namespace() as namespace:
        uid = running(cluster, namespace, job_image)
        before = cluster_node.pod_processes(uid)
        for part in ("kubelet", "containerd", "kube-apiserver", "etcd"):
            cluster_node.kill(part)
            assert not cluster_node.runs(part)
        with pytest.raises((OSError, http.client.HTTPException)):
            cluster.api.text("/readyz")
        assert cluster_node.pod_processes(uid) == before
        cluster_node.mend()
        assert _runs(cluster, namespace)
        assert cluster_node.pod_processes(uid) == before
