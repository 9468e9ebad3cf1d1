"""One attempt's namespace, against an API server that answers as scripted: what is kept is compared, and what nobody heard of is looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.unit.runner.sandbox.kubernetes.conftest import Answer, ScriptedServer, status_of
from tests.unit.runner.sandbox.kubernetes.test_ordered import ORDER, PLACED, held

from lockgate.runner.sandbox.kubernetes import enclosure as module
from lockgate.runner.sandbox.kubernetes.api import Api
from lockgate.runner.sandbox.kubernetes.cluster import Cluster, PodRef, Standing, ends_pods_first, standing
from lockgate.runner.sandbox.kubernetes.enclosure import Enclosure
from lockgate.runner.sandbox.kubernetes.marks import MarkKey, RegionMarks
from lockgate.runner.sandbox.kubernetes.memory import Forgetful
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.port import SandboxUnavailable

SPACE = "/api/v1/namespaces/lockgate-run-" + "0" * 32
PODS = f"{SPACE}/pods"
POD = f"{PODS}/{PLACED.name}"
SPACES = "/api/v1/namespaces"
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


STANDING = Standing("system:serviceaccount:lockgate:runner", MARKS)


@pytest.fixture
def enclosure(shared: Cluster) -> Enclosure:
    return Enclosure(shared, STANDING, "0" * 32)


@pytest.fixture
def ordered(shared: Cluster) -> Enclosure:
    """In a cluster that ends a namespace's pods before what holds them; no more pods come."""
    made = Enclosure(shared, replace(STANDING, pods_first=True), "0" * 32)
    made.closes = True
    return made


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


GONE = Answer(404, status_of("NotFound", "gone"))
FORBIDDEN = Answer(403, status_of("Forbidden", "no such role"))


def goes(server: ScriptedServer, *after: Answer) -> None:
    """The namespace is there when its end is ordered; what is said of it from then on."""
    name = SPACE.rpartition("/")[2]
    held = {"metadata": {"name": name, "uid": "n1", "resourceVersion": "7", "annotations": MARKS.annotations(name)}}
    server.answers("GET", SPACE, Answer(200, held), *[Answer(200, held) if one.status == 200 else one for one in after])
    server.answers("DELETE", SPACE, Answer(200, held))


async def removed(enclosure: Enclosure) -> str | None:
    """The UID of the namespace whose end was ordered, once it was."""
    assert enclosure._removal is not None, "its end was not ordered"
    return await enclosure._removal


async def made(enclosure: Enclosure, server: ScriptedServer) -> Any:
    takes(server, kept())
    return await enclosure.make(PLACED, [], b"t" * 32)


async def test_when_no_more_pods_come_the_namespace_is_told_to_go_while_the_last_one_ends(
    ordered: Enclosure, server: ScriptedServer
) -> None:
    pod = await made(ordered, server)
    told = asyncio.Event()
    server.answers("DELETE", POD, Answer(200, {}), Answer(200, {}))
    server.answers("GET", POD, replace(GONE, holds=told))
    server.answers("GET", PODS, Answer(200, {"metadata": {}, "items": [kept()]}))
    goes(server)
    ending = asyncio.create_task(ordered.end(pod))
    await server.has_heard(SPACE, 2)
    assert not ending.done(), "the pod is still there"
    told.set()
    assert await ending == {"pod": True, "processes": True}
    paths = server.paths()
    assert paths.index(f"DELETE {POD}") < paths.index(f"DELETE {SPACE}"), "pods first"
    [ended, *_], [gone] = (
        [one.body for one in server.asked if (one.method, one.path) == ("DELETE", path)] for path in (POD, SPACE)
    )
    assert (ended["gracePeriodSeconds"], ended["preconditions"]) == (1, {"uid": "u1"})
    assert gone["preconditions"] == {"uid": "n1"}


async def test_of_a_namespace_whose_every_pod_was_told_to_end_nothing_is_asked_before_it_is_told_too(
    ordered: Enclosure, server: ScriptedServer
) -> None:
    pod = await made(ordered, server)
    ordered.whole, ordered._uid = True, "n1"
    server.answers("DELETE", POD, Answer(200, {}))
    goes(server)
    assert await ordered.end(pod) == {"pod": True, "processes": True}
    assert await removed(ordered) == "n1"
    paths = server.paths()
    assert paths.index(f"DELETE {POD}") < paths.index(f"DELETE {SPACE}"), "pods first"
    assert {f"GET {SPACE}", f"GET {PODS}"}.isdisjoint(paths)


async def test_a_pod_that_was_not_told_to_end_is_told_before_its_namespace(
    ordered: Enclosure, server: ScriptedServer
) -> None:
    pod = await made(ordered, server)
    ordered.whole, ordered._uid = True, "n1"
    ordered.made["u2"] = PodRef("u2", "")
    other = kept() | {"metadata": kept()["metadata"] | {"name": "stage-9", "uid": "u2"}}
    for name in (PLACED.name, "stage-9"):
        server.answers("DELETE", f"{PODS}/{name}", Answer(200, {}), Answer(200, {}))
    server.answers("GET", PODS, Answer(200, {"metadata": {}, "items": [kept(), other]}))
    goes(server)
    await ordered.end(pod)
    assert await removed(ordered) == "n1"
    paths = server.paths()
    assert paths.index(f"DELETE {PODS}/stage-9") < paths.index(f"DELETE {SPACE}")


async def test_where_policies_could_go_before_the_pod_that_they_hold_the_namespace_is_told_once_it_is_gone(
    enclosure: Enclosure, server: ScriptedServer
) -> None:
    enclosure.closes = True
    pod = await made(enclosure, server)
    told = asyncio.Event()
    server.answers("DELETE", POD, Answer(200, {}))
    server.answers("GET", POD, replace(GONE, holds=told))
    server.answers("GET", PODS, Answer(200, {"metadata": {}, "items": []}))
    goes(server)
    ending = asyncio.create_task(enclosure.end(pod))
    await server.has_heard(POD, 2)
    assert enclosure._removal is None, "its pod is still there"
    told.set()
    assert await ending == {"pod": True, "processes": True}
    assert await removed(enclosure) == "n1"


async def test_a_pod_that_more_follow_leaves_its_namespace_alone(ordered: Enclosure, server: ScriptedServer) -> None:
    ordered.closes = False
    pod = await made(ordered, server)
    server.answers("DELETE", POD, Answer(200, {}))
    assert await ordered.end(pod) == {"pod": True, "processes": True}
    assert ordered._removal is None


@pytest.mark.parametrize("runs_nothing", [True, False])
async def test_where_the_right_to_look_went_with_the_namespace_its_end_shows_the_pods_and_the_nodes_are_asked(
    ordered: Enclosure, server: ScriptedServer, nodes: AskedNodes, runs_nothing: bool
) -> None:
    nodes.answer = runs_nothing
    pod = await made(ordered, server)
    server.answers("DELETE", POD, Answer(200, {}))
    server.answers("GET", POD, FORBIDDEN)
    server.answers("GET", PODS, FORBIDDEN)
    goes(server, GONE)
    assert await ordered.end(pod) == {"pod": True, "processes": runs_nothing}
    assert [one.uid for one in nodes.pods] == ["u1"]


async def test_where_the_right_to_look_went_and_the_namespace_stays_no_pod_is_called_gone(
    ordered: Enclosure, server: ScriptedServer, nodes: AskedNodes
) -> None:
    pod = await made(ordered, server)
    server.answers("DELETE", POD, Answer(200, {}))
    server.answers("GET", POD, FORBIDDEN)
    server.answers("GET", PODS, FORBIDDEN)
    goes(server, Answer(200))
    server.answers("GET", SPACES, Answer(200, events=[], holds=asyncio.Event()))
    assert await ordered.end(pod) == {"pod": False, "processes": False}
    assert nodes.pods == [], "nobody is asked of what is still there"


@pytest.mark.parametrize(
    ("version", "first"),
    [
        ({"major": "1", "minor": "34"}, True),
        ({"major": "1", "minor": "36+"}, True),
        ({"major": "2", "minor": "0"}, True),
        ({"major": "1", "minor": "33"}, False),
        ({"major": "1", "minor": "9"}, False),
        ({"major": "1", "minor": ""}, False),
        ({"major": "1", "minor": "v36"}, False),
        ({"major": 1}, False),
        ({}, False),
    ],
)
def test_clusters_that_may_still_remove_in_any_order_are_known_by_their_version(
    version: dict[str, Any], first: bool
) -> None:
    assert ends_pods_first(version) is first


@pytest.mark.parametrize(
    ("answer", "first"),
    [(Answer(200, {"major": "1", "minor": "36"}), True), (FORBIDDEN, False)],
    ids=["1.36", "refused"],
)
async def test_a_cluster_is_asked_for_its_version_and_need_not_tell(
    shared: Cluster, server: ScriptedServer, answer: Answer, first: bool
) -> None:
    review = {"status": {"userInfo": {"username": STANDING.user}}}
    server.answers("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", Answer(201, review))
    server.answers("GET", f"{SPACES}/kube-system", Answer(200, {"metadata": {"uid": "cluster"}}))
    server.answers("GET", "/version", answer)
    assert await standing(shared) == replace(STANDING, pods_first=first)
