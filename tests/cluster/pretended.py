"""Nodes that only say that they are and that their pods run (kwok), so that a thousand attempts need no machine of a thousand; nothing runs on one, and it has no kubelet to be asked."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.programs import tool
from tests.cluster.running import Cluster, until

NODES = 10
STAGES = Path(__file__).with_name("kwok.yaml")
_NAME = "pretended-"
_MARK = "kwok.x-k8s.io/node"


@contextmanager
def pretended(cluster: Cluster) -> Iterator[None]:
    """Such nodes, looked after until the end of this; the cluster's real node takes no pods meanwhile."""
    assert cluster.place is not None
    cluster.kubectl("cordon", cluster.place.node)
    cluster.apply(*(_node(number) for number in range(NODES)))
    argv = [str(tool("kwok")), "--kubeconfig", str(_as_nodes(cluster)), "--config", str(STAGES)]
    argv += ["--manage-all-nodes=false", f"--manage-nodes-with-annotation-selector={_MARK}=fake"]
    argv += ["--node-lease-duration-seconds=40", "--enable-crds="]
    place = cluster.place.log("kwok")
    with place.open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        until(lambda: _leases(cluster) == NODES, lambda: f"kwok: {place.read_text()[-2000:]}")
        yield
    finally:
        process.terminate()
        process.wait()


def _as_nodes(cluster: Cluster) -> Path:
    """A kubeconfig by which kwok is one of the nodes: admission lets nobody else tell of the pods of a run."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] |= {"as": "system:kwok", "as-groups": ["system:nodes", "system:masters"]}
    place = cluster.kubeconfig.with_name("kwok.kubeconfig")
    place.touch(mode=0o600)
    place.write_text(json.dumps(config))
    return place


def _node(number: int) -> dict[str, Any]:
    room = {"cpu": "1000", "memory": "1Ti", "pods": "1000", "ephemeral-storage": "1Ti"}
    ready = {"type": "Ready", "status": "True", "reason": "Pretended", "message": "by kwok"}
    status = {"capacity": room, "allocatable": room, "conditions": [ready]}
    metadata = {"name": f"{_NAME}{number}", "annotations": {_MARK: "fake"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}


def _leases(cluster: Cluster) -> int:
    leases = cluster.api.ask("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")["items"]
    return sum(each["metadata"]["name"].startswith(_NAME) for each in leases)
