"""A job's channel from real pods of a real cluster: its first process is let in through the one hole, and not where the network is not held."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.cluster.pods import DENY_ALL, PYTHON, one_hole, restricted
from tests.cluster.running import Cluster, until
from tests.pods import LIMITS, PRELUDE, WELL

from lockgate.contract import podchannel as pod
from lockgate.contract.jobplaces import SANDBOX_ROOT
from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes.planning import mounts_of
from lockgate.runner.sandbox.network.host import ChannelHost, Surroundings
from lockgate.runner.sandbox.network.hosts import ChannelHosts
from lockgate.runner.sandbox.network.listen import Listen
from lockgate.runner.sandbox.port import ChannelError, InjectedFile, SandboxSpec

pytestmark = pytest.mark.kubernetes
TELLS = """
def can_read(path):
    try:
        with open(path, "rb") as stream:
            return bool(stream.read(1))
    except OSError:
        return False
hello(); ready()
result(plan=open("/lockgate-plan/plan").read(), uid=os.getuid(), root=os.access("/", os.W_OK),
       first=[can_read(f"/proc/1/{name}") for name in ("environ", "maps", "mem")], own=can_read("/proc/self/environ"))
"""
START = "import sys; sys.path.append('/lockgate/lib'); from lockgate.job.pod.__main__ import main; sys.exit(main())"


@pytest.fixture
async def hosts(cluster: Cluster) -> AsyncIterator[ChannelHosts]:
    made = ChannelHosts(Listen(cluster.node_ip))
    yield made
    await made.close()


def specification(program: str) -> SandboxSpec:
    argv = (PYTHON, "-I", "-S", "-B", "-X", "utf8", "-c", PRELUDE + program)
    files = (InjectedFile("/lockgate-plan/plan", b"the plan"), InjectedFile("/run/credentials/token", b"secret"))
    environment = {"LD_LIBRARY_PATH": f"{SANDBOX_ROOT}/python/lib"}
    return SandboxSpec(os.urandom(16).hex(), "plan", argv, environment, files=files, limits=LIMITS)


def started(cluster: Cluster, namespace: str, image: Image, host: ChannelHost, spec: SandboxSpec) -> dict[str, Any]:
    """A pod as the provider makes one, once its address is known."""
    body = restricted("stage-1", image.pinned, START)
    container, given = (
        body["spec"]["containers"][0],
        host.pod_environment(Surroundings((cluster.url.partition("//")[2],))),
    )
    by_api = {pod.POD_VARIABLE: "metadata.uid", pod.NODE_VARIABLE: "status.hostIPs"}
    container["env"] = [{"name": name, "value": value} for name, value in given.items()]
    container["env"] += [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in by_api.items()
    ]
    secret = {"metadata": {"name": "ticket"}, "data": {"ticket": base64.b64encode(host.ticket).decode()}}
    cluster.api.ask("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
    named = [(f"v{number}", volume) for number, volume in enumerate(mounts_of(spec))]
    body["spec"]["volumes"] = [{"name": "ticket", "secret": {"secretName": "ticket", "defaultMode": 0o444}}] + [
        {"name": name, "emptyDir": {"sizeLimit": volume.size_bytes} | ({"medium": "Memory"} if volume.memory else {})}
        for name, volume in named
    ]
    container["volumeMounts"] = [{"name": "ticket", "mountPath": "/run/lockgate-ticket", "readOnly": True}] + [
        {"name": name, "mountPath": volume.path} for name, volume in named
    ]
    path = f"/api/v1/namespaces/{namespace}/pods"
    cluster.api.ask("POST", path, body)
    found: dict[str, Any] = until(
        lambda: (one := cluster.api.ask("GET", f"{path}/stage-1"))["status"].get("podIP") and one
    )
    return found


async def test_a_pod_behind_one_hole_is_let_in_and_runs_its_job(
    cluster: Cluster, job_image: Image, hosts: ChannelHosts
) -> None:
    spec = specification(TELLS)
    host = await hosts.open(spec)
    with cluster.namespace() as namespace:
        for policy in (DENY_ALL, one_hole(cluster.node_ip, host.port)):
            cluster.api.ask("POST", f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies", policy)
        made = started(cluster, namespace, job_image, host, spec)
        await host.expect(made["metadata"]["uid"], made["status"]["podIP"])
        arrival = await host.arrived()
        assert dict(arrival.checks) == dict.fromkeys(pod.CHECKS, True)
        await host.deliver()
        assert (await host.channel.receive())["type"] == "hello"
        await host.channel.send({"type": "inputs"})
        assert (await host.channel.receive())["type"] == "ready"
        said = await host.channel.receive()
        report = await host.ended()
        until(lambda: cluster.pod_phase(namespace, "stage-1") == "Succeeded")
    assert (said["plan"], said["uid"], said["root"]) == ("the plan", 1000, False)
    assert said["own"] is True
    assert said["first"] == [False, False, False], "the channel's keys are in there, and the job has the same uid"
    assert report is not None
    assert (report.cause, report.exit_code) == ("exit", 0)


async def test_a_pod_whose_network_is_not_held_is_sent_nothing_and_says_what_it_reached(
    cluster: Cluster, job_image: Image, hosts: ChannelHosts
) -> None:
    spec = specification(WELL)
    host = await hosts.open(spec)
    with cluster.namespace() as namespace:
        made = started(cluster, namespace, job_image, host, spec)
        await host.expect(made["metadata"]["uid"], made["status"]["podIP"])
        with pytest.raises(ChannelError) as refused:
            await host.deliver()
        assert refused.value.kind == "unconfined"
        assert "canary" in refused.value.detail
        assert "api_server" in refused.value.detail or "canary, as seen from here" in refused.value.detail
        until(lambda: cluster.pod_phase(namespace, "stage-1") == "Failed")
