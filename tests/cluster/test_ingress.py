"""The policy for runners that are pods: pods of runs reach their ports of channels, and nobody reaches anything else of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from tests.cluster.api import Api
from tests.cluster.identity import MANIFESTS, Identity, may, run_of
from tests.cluster.pods import DENY_ALL, one_hole, restricted
from tests.cluster.running import Cluster, until

from lockgate.runner.image.archive import Image

pytestmark = pytest.mark.kubernetes

FIRST, LAST, OTHER = 30000, 30099, 8080
LISTENS = """
import select, socket
servers = [socket.create_server(("", port)) for port in {ports}]
print("listens", flush=True)
while True:
    for ready in select.select(servers, [], [])[0]:
        ready.accept()[0].close()
"""
ASKS = """
import concurrent.futures, json, socket
def asked(port):
    try:
        socket.create_connection(({address!r}, port), timeout=4).close()
        return "connected"
    except TimeoutError:
        return "nothing came back"
with concurrent.futures.ThreadPoolExecutor() as at_once:
    print(json.dumps(dict(zip({ports}, at_once.map(asked, {ports})))))
"""


@pytest.fixture
def serving(cluster: Cluster, job_image: Image) -> Iterator[str]:
    """The address of a pod that stands for a runner, in a namespace that the policy was made for."""
    (policy,) = yaml.safe_load_all((MANIFESTS / "in-cluster" / "ingress.yaml").read_text())
    with cluster.namespace() as namespace:
        policy["metadata"]["namespace"] = namespace
        cluster.apply(policy)
        code = LISTENS.format(ports=[FIRST, LAST, OTHER])
        cluster.api.ask("POST", f"/api/v1/namespaces/{namespace}/pods", restricted("runner", job_image.pinned, code))
        until(lambda: cluster.pod_phase(namespace, "runner") == "Running")
        until(lambda: "listens" in cluster.logs(namespace, "runner"))
        yield str(cluster.api.ask("GET", f"/api/v1/namespaces/{namespace}/pods/runner")["status"]["podIP"])


def asked(cluster: Cluster, api: Api, namespace: str, image: Image, address: str) -> dict[str, str]:
    """What a pod of the namespace gets from each port; `api` is whose it is. It must be possible to make it by now."""
    pod = restricted("asks", image.pinned, ASKS.format(ports=[FIRST, LAST, OTHER], address=address))
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.ask("POST", path, pod)
    until(lambda: cluster.pod_phase(namespace, "asks") in ("Succeeded", "Failed"))
    found: dict[str, str] = json.loads(cluster.logs(namespace, "asks"))
    return found


def test_pods_of_runs_reach_the_ports_of_channels_and_nothing_else_of_a_runner(
    cluster: Cluster, runner: Identity, serving: str, job_image: Image
) -> None:
    with run_of(runner) as run:
        policies = f"/apis/networking.k8s.io/v1/namespaces/{run}/networkpolicies"
        until(lambda: may(runner, "POST", policies, DENY_ALL))
        for port in (FIRST, LAST, OTHER):
            hole = one_hole(serving, port)
            hole["metadata"]["name"] = f"hole-{port}"
            runner.api.ask("POST", policies, hole)
        probe = restricted("probe", job_image.pinned, "")
        until(lambda: may(runner, "POST", f"/api/v1/namespaces/{run}/pods?dryRun=All", probe))
        found = asked(cluster, runner.api, run, job_image, serving)
    assert found == {str(FIRST): "connected", str(LAST): "connected", str(OTHER): "nothing came back"}


def test_pods_of_others_reach_nothing_of_a_runner(cluster: Cluster, serving: str, job_image: Image) -> None:
    with cluster.namespace() as other:
        found = asked(cluster, cluster.api, other, job_image, serving)
    assert set(found.values()) == {"nothing came back"}
