"""What a runner remembers of its pods, also over a restart: of what nobody remembers every node is asked, and a silence proves nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.runner.sandbox.kubernetes.conftest import Answer, ScriptedServer, status_of
from tests.unit.runner.sandbox.kubernetes.test_enclosure import (
    PODS,
    AskedNodes,
    enclosure,
    kept,
    memory,
    nodes,
    shared,
    takes,
)
from tests.unit.runner.sandbox.kubernetes.test_ordered import PLACED

from lockgate.runner.enclosure import enclosure_of
from lockgate.runner.journal import Journal
from lockgate.runner.sandbox.kubernetes.cluster import Cluster, PodRef
from lockgate.runner.sandbox.kubernetes.enclosure import Enclosure
from lockgate.runner.sandbox.kubernetes.memory import Forgetful, place_of
from lockgate.runner.sandbox.kubernetes.provider import KubernetesSandbox
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.runner.whereabouts import JournaledPods

NAME = "lockgate-run-" + "0" * 32
BOX = "ab" * 16
REF = PodRef("u1", "node-1", node_uid="uid of node-1")
NAMESPACES = "/api/v1/namespaces"
SECRET = b"r" * 32


def gone(server: ScriptedServer) -> None:
    """Nothing of any attempt is in the cluster any more, by the API server's word."""
    review = Answer(201, {"status": {"userInfo": {"username": "runner"}}})
    server.answers("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    server.answers("GET", f"{NAMESPACES}/kube-system", Answer(document={"metadata": {"uid": "cluster"}}))
    server.answers("GET", NAMESPACES, *(Answer(document={"items": []}) for _ in range(3)))


@pytest.fixture
def provider(shared: Cluster) -> KubernetesSandbox:
    return KubernetesSandbox(shared, cast(Any, None))


async def test_where_a_pod_came_to_is_remembered_before_anything_is_sent_to_it(
    enclosure: Enclosure, server: ScriptedServer, memory: Forgetful
) -> None:
    takes(server, kept())
    pod = await enclosure.make(PLACED, [], b"t" * 32)
    await enclosure.placed(BOX, pod)
    assert memory.kept == {BOX: place_of("0" * 32, REF)}
    assert enclosure.made["u1"].node_uid == "uid of node-1"
    enclosure.runs_on(pod)
    assert enclosure.made["u1"].node_uid == "uid of node-1", "and is not forgotten when it is seen again"


async def test_what_a_dead_process_had_is_looked_for_where_it_was_and_on_every_node(
    enclosure: Enclosure, memory: Forgetful, nodes: AskedNodes
) -> None:
    memory.remember(BOX, place_of("0" * 32, REF))
    memory.remember("cd" * 16, place_of("1" * 32, PodRef("u2", "node-2")))
    assert await enclosure.release() == {"namespace": True, "processes": True}
    assert nodes.spaces == [(NAME, [REF], False)]


async def test_of_an_order_whose_answer_was_lost_every_node_is_asked(
    enclosure: Enclosure, server: ScriptedServer, nodes: AskedNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockgate.runner.sandbox.kubernetes.api.PATIENCE_SECONDS", 0.0)
    enclosure.whole = True
    takes(server, kept())
    server.script["POST", PODS] = [Answer(201, events=[kept()], ends=False)]
    with pytest.raises(SandboxUnavailable):
        await enclosure.make(PLACED, [], b"t" * 32)
    await enclosure.release()
    assert nodes.spaces == [(NAME, [], False)]


async def test_of_an_order_that_was_given_up_before_its_answer_every_node_is_asked(
    enclosure: Enclosure, server: ScriptedServer, nodes: AskedNodes
) -> None:
    enclosure.whole = True
    takes(server, kept())
    answered = asyncio.Event()
    server.script["POST", PODS] = [Answer(201, kept(), holds=answered, ends=False)]
    making = asyncio.create_task(enclosure.make(PLACED, [], b"t" * 32))
    await server.has_heard(PODS, 1)
    making.cancel()
    await asyncio.wait([making])
    answered.set()
    assert making.cancelled()
    await enclosure.release()
    assert nodes.spaces == [(NAME, [], False)]


async def test_an_order_that_was_refused_has_made_nothing(enclosure: Enclosure, server: ScriptedServer) -> None:
    enclosure.whole = True
    takes(server, kept())
    server.script["POST", PODS] = [Answer(403, status_of("Forbidden", "exceeded quota"))]
    with pytest.raises(SandboxUnavailable, match="quota"):
        await enclosure.make(PLACED, [], b"t" * 32)
    assert enclosure.whole


async def test_a_sandbox_of_a_dead_process_is_gone_only_by_the_word_of_its_node(
    provider: KubernetesSandbox, server: ScriptedServer, memory: Forgetful, nodes: AskedNodes
) -> None:
    """Its namespace was removed meanwhile, by force: the API server knows nothing of it."""
    gone(server)
    memory.remember(BOX, place_of("0" * 32, REF))
    nodes.answer = False
    assert (await provider.destroy(BOX)).checks == {"pod": True, "processes": False}
    nodes.answer = True
    assert (await provider.destroy(BOX)).torn_down
    assert nodes.pods == [REF, REF]


async def test_a_sandbox_that_was_ordered_and_came_to_no_node_anybody_knows_is_looked_for_on_all(
    provider: KubernetesSandbox, server: ScriptedServer, nodes: AskedNodes, tmp_path: Path
) -> None:
    gone(server)
    journal = Journal(tmp_path / "journal.jsonl")
    journal.first_sight("att_1", "grant")
    journal.sandbox_started("att_1", BOX)
    provider._cluster = replace(provider._cluster, memory=JournaledPods(journal, lambda: SECRET))
    nodes.answer = False
    assert (await provider.destroy(BOX)).checks == {"pod": True, "processes": False}
    assert nodes.spaces == [(f"lockgate-run-{enclosure_of(SECRET, 'att_1')}", [], False)]
    journal.close()


async def test_a_sandbox_that_nobody_ever_ordered_is_not_there(
    provider: KubernetesSandbox, server: ScriptedServer, nodes: AskedNodes
) -> None:
    gone(server)
    assert (await provider.destroy(BOX)).checks == {"pod": True}
    assert (nodes.spaces, nodes.pods) == ([], [])


async def test_what_cannot_be_proven_gone_is_kept_in_no_process_for_ever(
    provider: KubernetesSandbox, server: ScriptedServer, nodes: AskedNodes
) -> None:
    """A cluster whose kubelets may not be asked, and a thousand attempts."""
    gone(server)
    nodes.answer = False
    for number in range(3):
        known = await provider._enclosure(f"{number:032x}")
        provider._enclosures[known.enclosure] = known
        assert not (await provider.release(known.enclosure)).torn_down
    assert provider._enclosures == {}
    assert [whole for _, _, whole in nodes.spaces] == [False] * 3


def test_places_outlive_the_process_and_the_journals_own_cleaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lockgate.runner.journal.SLACK", 0)
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    pods = JournaledPods(journal, lambda: SECRET)
    journal.first_sight("att_1", "grant")
    journal.sandbox_started("att_1", BOX)
    pods.remember(BOX, place_of("0" * 32, REF))
    pods.remember("cd" * 16, place_of("0" * 32, REF))
    journal.sandbox_gone(BOX)
    journal.close()
    again = JournaledPods(Journal(path), lambda: SECRET)
    assert again.places() == {BOX: place_of("0" * 32, REF)}, "and of a sandbox that is no attempt's nothing is kept"
    assert again.enclosure_of(BOX) == enclosure_of(SECRET, "att_1")
    assert again.enclosure_of("cd" * 16) is None
    again.journal.attempt_ended("att_1")
    assert again.places() == {}
    again.journal.close()


__all__ = ["enclosure", "memory", "nodes", "shared"]
