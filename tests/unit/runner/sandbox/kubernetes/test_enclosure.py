"""One attempt's namespace, against an API server that answers as scripted: what is kept is compared, and what nobody heard of is looked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.unit.runner.sandbox.kubernetes.conftest import Answer, ScriptedServer
from tests.unit.runner.sandbox.kubernetes.test_ordered import ORDER, PLACED, held

from lockgate.runner.sandbox.kubernetes.api import Api
from lockgate.runner.sandbox.kubernetes.cluster import Cluster, Standing
from lockgate.runner.sandbox.kubernetes.enclosure import Enclosure
from lockgate.runner.sandbox.kubernetes.marks import MarkKey, RegionMarks
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.port import SandboxUnavailable

SPACE = "/api/v1/namespaces/lockgate-run-" + "0" * 32
PODS = f"{SPACE}/pods"
POD = f"{PODS}/{PLACED.name}"


@dataclass
class AskedNodes:
    """Nodes that run nothing, and what was asked of them."""

    asked: list[Any] = field(default_factory=list)

    def now(self) -> float:
        return 0.0

    async def run_none_of(self, *asked: Any) -> bool:
        self.asked.append(asked)
        return True

    run_none_in = run_none_of


@pytest.fixture
def nodes() -> AskedNodes:
    return AskedNodes()


@pytest.fixture
def enclosure(api: Api, nodes: AskedNodes) -> Enclosure:
    marks = RegionMarks(MarkKey(b"r" * 32), "cluster", "eu", "runner-1", "i", 60)
    settings = KubernetesSettings(channel_address="10.0.0.1", teardown_seconds=1)
    cluster = Cluster(api, settings, "runner-1", PLACED.image, {}, lambda _: marks, nodes, lambda n: b"0" * n)
    return Enclosure(cluster, Standing("system:serviceaccount:lockgate:runner", marks), "0" * 32)


def kept(**changes: Any) -> dict[str, Any]:
    """The pod as it is kept once it runs, with fields of its specification changed."""
    pod = held()
    status = pod["status"]["containerStatuses"][0]
    pod["status"] |= {"podIP": "10.1.0.2", "containerStatuses": [status | {"imageID": PLACED.image}]}
    pod["spec"] |= changes
    return pod


def takes(server: ScriptedServer, pod: dict[str, Any]) -> None:
    server.answers("POST", SPACE.replace("/api/", "/apis/networking.k8s.io/") + "/networkpolicies", Answer(201, {}))
    server.answers("POST", f"{SPACE}/secrets", Answer(201, {}))
    server.answers("POST", PODS, Answer(201, pod))


async def test_a_pod_that_is_made_as_it_was_ordered_is_taken(enclosure: Enclosure, server: ScriptedServer) -> None:
    takes(server, kept())
    pod = await enclosure.make(PLACED, [], b"t" * 32)
    server.answers("GET", POD, Answer(200, kept()))
    await enclosure.check_again(PLACED, pod)
    assert [one.body for one in server.asked if one.path == PODS] == [ORDER]


async def test_a_pod_that_was_changed_on_its_way_is_not_waited_for(
    enclosure: Enclosure, server: ScriptedServer
) -> None:
    takes(server, kept(hostNetwork=True))
    with pytest.raises(SandboxUnavailable, match=r"spec\.hostNetwork was added"):
        await enclosure.make(PLACED, [], b"t" * 32)


async def test_a_pod_that_was_changed_since_it_was_made_is_sent_nothing(
    enclosure: Enclosure, server: ScriptedServer
) -> None:
    takes(server, kept())
    pod = await enclosure.make(PLACED, [], b"t" * 32)
    server.answers("GET", POD, Answer(200, kept(ephemeralContainers=[{"name": "debugger"}])))
    with pytest.raises(SandboxUnavailable, match=r"spec\.ephemeralContainers was added \(debugger\)"):
        await enclosure.check_again(PLACED, pod)


async def test_another_pod_under_the_name_of_the_one_that_was_let_in_is_sent_nothing(
    enclosure: Enclosure, server: ScriptedServer
) -> None:
    takes(server, kept())
    pod = await enclosure.make(PLACED, [], b"t" * 32)
    other = kept()
    other["metadata"]["uid"] = "u2"
    server.answers("GET", POD, Answer(200, other))
    with pytest.raises(SandboxUnavailable, match="had the UID u1, and has u2"):
        await enclosure.check_again(PLACED, pod)
