"""One attempt's namespace, against an API server that answers as scripted: what is kept is compared, and what nobody heard of is looked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.unit.runner.sandbox.kubernetes.conftest import Answer, ScriptedServer, status_of
from tests.unit.runner.sandbox.kubernetes.test_ordered import ORDER, PLACED, held

from lockgate.runner.sandbox.kubernetes import enclosure as module
from lockgate.runner.sandbox.kubernetes.api import Api
from lockgate.runner.sandbox.kubernetes.cluster import Cluster, PodRef, Standing
from lockgate.runner.sandbox.kubernetes.enclosure import Enclosure
from lockgate.runner.sandbox.kubernetes.marks import MarkKey, RegionMarks
from lockgate.runner.sandbox.kubernetes.memory import Forgetful
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.port import SandboxUnavailable

SPACE = "/api/v1/namespaces/lockgate-run-" + "0" * 32
PODS = f"{SPACE}/pods"
POD = f"{PODS}/{PLACED.name}"
MARKS = RegionMarks(MarkKey(b"r" * 32), "cluster", "eu", "runner-1", "i", 60)


@dataclass
class AskedNodes:
    """Nodes that say that they run none, and what was asked of them: pods, namespaces, and whether of every node."""

    pods: list[PodRef] = field(default_factory=list)
    spaces: list[tuple[str, list[PodRef], bool]] = field(default_factory=list)
    answer: bool = True

    def now(self) -> float:
        return 0.0

    async def uid_of(self, node: str) -> str:
        return f"uid of {node}"

    async def run_none_of(self, pods: Collection[PodRef]) -> bool:
        self.pods += pods
        return self.answer

    async def run_none_in(
        self, namespace: str, pods: Collection[PodRef], closed: float | None = None, *, whole: bool = True
    ) -> bool:
        self.spaces.append((namespace, list(pods), whole))
        return self.answer


@pytest.fixture
def nodes() -> AskedNodes:
    return AskedNodes()


@pytest.fixture
def memory() -> Forgetful:
    return Forgetful()


@pytest.fixture
def enclosure(shared: Cluster) -> Enclosure:
    return Enclosure(shared, Standing("system:serviceaccount:lockgate:runner", MARKS), "0" * 32)


@pytest.fixture
def shared(api: Api, nodes: AskedNodes, memory: Forgetful) -> Cluster:
    settings = KubernetesSettings(channel_address="10.0.0.1", teardown_seconds=1)
    return Cluster(api, settings, "runner-1", PLACED.image, {}, lambda _: MARKS, nodes, lambda n: b"0" * n, memory)


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


async def test_a_server_that_comes_back_without_its_roles_is_asked_again_from_then_on(
    enclosure: Enclosure, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was away for longer than a role may take to be known."""
    monkeypatch.setattr(module, "ROLE_SECONDS", 0.02)
    away = Answer(503, status_of("ServiceUnavailable", "away"), headers={"retry-after": "1"})
    unknown = Answer(403, status_of("Forbidden", 'user "x" cannot create resource "secrets": no such role'))
    server.answers("POST", f"{SPACE}/secrets", away, unknown)
    takes(server, kept())
    assert await enclosure.make(PLACED, [], b"t" * 32)


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
