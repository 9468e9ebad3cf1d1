"""Ends that go wrong in a real cluster: each is told as it is, nothing is called gone that still runs, and the cluster is clean in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from tests.cluster.attempts import attempts, begun, ended, made_marks, proven, soon
from tests.cluster.identity import SYSTEM, Identity, run_name, run_namespace
from tests.cluster.node import Node
from tests.cluster.running import PATIENCE, Cluster

from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes import api as client
from lockgate.runner.sandbox.kubernetes.enclosure import Enclosure
from lockgate.runner.sandbox.kubernetes.orphans import ApiNamespaces
from lockgate.runner.sandbox.kubernetes.reaper import STUCK_AFTER, Reaper, Verdict, stuck_because
from lockgate.runner.sandbox.port import SandboxUnavailable

pytestmark = [pytest.mark.kubernetes, pytest.mark.node]

PROVEN = {"namespace": True, "processes": True}
SHORT = 4


def clean(node: Node, where: Enclosure, pod: Any = None) -> None:
    """Nothing of it runs by the runtime's and the kernel's own word; the runtime keeps a record of what has ended for a while."""
    assert [box for box in node.sandboxes(where.name) if box["state"] != "SANDBOX_NOTREADY"] == []
    if pod is not None:
        assert node.pod_processes(pod["metadata"]["uid"]) == set()


async def test_a_job_that_ignores_sigterm_and_forks_is_gone_with_all_its_children(
    cluster: Cluster, runner: Identity, job_image: Image, cluster_node: Node
) -> None:
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for _ in range(40):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid(); time.sleep(600)\n"
        "time.sleep(600)\n"
    )
    async with attempts(cluster, runner, job_image.pinned) as ours:
        where = ours.enclosure()
        pod = await begun(where, job_image.pinned, code)
        await soon(lambda: len(cluster_node.pod_processes(pod["metadata"]["uid"])) > 40)
        assert await where.end(pod) == {"pod": True, "processes": True}
        clean(cluster_node, where, pod)
        assert await where.release() == PROVEN


async def test_a_job_that_fills_its_disk_fails_alone_and_leaves_the_node_its_own(
    cluster: Cluster, runner: Identity, job_image: Image, cluster_node: Node
) -> None:
    code = (
        "import errno, sys\n"
        "try:\n"
        "    with open('/tmp/full', 'wb', buffering=0) as file:\n"
        "        while True: file.write(b'x' * 65536)\n"
        "except OSError as error:\n"
        "    sys.exit(33 if error.errno == errno.ENOSPC else 34)\n"
    )
    async with attempts(cluster, runner, job_image.pinned) as ours:
        where = ours.enclosure()
        pod = await begun(where, job_image.pinned, code)
        assert (await ended(where, pod))["exitCode"] == 33
        assert await where.release() == PROVEN
        clean(cluster_node, where, pod)


async def test_a_namespace_that_a_human_deletes_in_the_middle_is_seen_gone(
    cluster: Cluster, runner: Identity, job_image: Image, cluster_node: Node
) -> None:
    async with attempts(cluster, runner, job_image.pinned) as ours:
        where = ours.enclosure()
        pod = await begun(where, job_image.pinned)
        cluster.kubectl("delete", "namespace", where.name, "--wait=false")
        assert await where.release() == PROVEN
        clean(cluster_node, where, pod)
        assert await where.release() == PROVEN, "and again"


async def test_a_pod_that_a_human_deletes_by_force_is_not_gone_before_its_processes_are(
    cluster: Cluster, runner: Identity, job_image: Image, cluster_node: Node
) -> None:
    """The object is gone at once; its processes live on for seconds."""
    async with attempts(cluster, runner, job_image.pinned) as ours:
        where = ours.enclosure()
        pod = await begun(where, job_image.pinned, "import signal, time\nsignal.signal(15, 1)\ntime.sleep(600)")
        cluster.kubectl("delete", "pod", pod["metadata"]["name"], "-n", where.name, "--force", "--grace-period=0")
        assert await where.end(pod) == {"pod": True, "processes": True}
        clean(cluster_node, where, pod)
        assert await where.release() == PROVEN


async def test_behind_a_dead_kubelet_nothing_is_proven_until_it_is_back(
    cluster: Cluster, runner: Identity, job_image: Image, cluster_node: Node
) -> None:
    async with attempts(cluster, runner, job_image.pinned, seconds=SHORT) as ours:
        where = ours.enclosure()
        pod = await begun(where, job_image.pinned)
        cluster_node.kill("kubelet")
        assert await where.release() == {"namespace": False, "processes": False}
        # Even where somebody tears the objects away by force.
        cluster.kubectl("delete", "pod", "--all", "-n", where.name, "--force", "--grace-period=0")
        await soon(lambda: cluster.kubectl("get", "namespace", where.name, check=False).returncode, 1)
        assert cluster_node.pod_processes(pod["metadata"]["uid"]) != set(), "it still runs"
        assert await where.release() == {"namespace": True, "processes": False}
        cluster_node.start("kubelet")
        await soon(lambda: cluster_node.pod_processes(pod["metadata"]["uid"]), set())
        await proven(where.release, PROVEN)
        clean(cluster_node, where, pod)


async def test_behind_a_dead_container_runtime_nothing_is_proven_until_it_is_back(
    cluster: Cluster, runner: Identity, job_image: Image, cluster_node: Node
) -> None:
    async with attempts(cluster, runner, job_image.pinned, seconds=SHORT) as ours:
        where = ours.enclosure()
        pod = await begun(where, job_image.pinned)
        cluster_node.kill("containerd")
        said = await where.release()
        assert said["processes"] is False
        assert cluster_node.pod_processes(pod["metadata"]["uid"]) != set(), "it still runs"
        cluster_node.start("containerd")
        await proven(where.release, PROVEN)
        clean(cluster_node, where, pod)


async def test_without_an_api_server_nobody_says_that_anything_is_gone(
    cluster: Cluster, runner: Identity, job_image: Image, cluster_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with attempts(cluster, runner, job_image.pinned) as ours:
        where = ours.enclosure()
        pod = await begun(where, job_image.pinned)
        cluster_node.kill("kube-apiserver")
        with monkeypatch.context() as impatient:
            impatient.setattr(client, "PATIENCE_SECONDS", 1.0)  # of a server that stays away
            with pytest.raises(SandboxUnavailable, match="cannot be seen"):
                await where.release()
        cluster_node.mend()
        await proven(where.release, PROVEN)  # a server that has just been started refuses what it does not know yet
        clean(cluster_node, where, pod)


async def test_a_namespace_that_somebody_holds_is_not_gone_and_told_of_with_what_holds_it(
    cluster: Cluster, runner: Identity, job_image: Image, cluster_node: Node
) -> None:
    async with attempts(cluster, runner, job_image.pinned, seconds=SHORT) as ours:
        where = ours.enclosure()
        await begun(where, job_image.pinned)
        held = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "held", "namespace": where.name}}
        held["metadata"]["finalizers"] = ["example.com/hold"]  # type: ignore[index]
        cluster.apply(held, by=SYSTEM)
        assert (await where.release())["namespace"] is False
        await soon(lambda: "example.com/hold" in stuck_because(document(cluster, where)))
        reaper = Reaper(made_marks("runner-1", ours.cluster_uid))
        listed, now = await ApiNamespaces(ours.cluster.api).run_namespaces()
        (mine,) = [item for item in listed if item["metadata"]["name"] == where.name]
        found = reaper.judge(mine, (), now + STUCK_AFTER)
        assert found.verdict is Verdict.STUCK
        assert "example.com/hold" in found.why
        cluster.kubectl(
            "patch", "configmap", "held", "-n", where.name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
        )
        await proven(where.release, PROVEN)
        clean(cluster_node, where)


def document(cluster: Cluster, where: Enclosure) -> Mapping[str, Any]:
    """The namespace as the API server has it."""
    return cluster.api.ask("GET", f"/api/v1/namespaces/{where.name}")


async def test_reapers_remove_what_outlived_its_time_and_leave_what_bears_no_mark_of_its_own(
    cluster: Cluster, runner: Identity, job_image: Image
) -> None:
    async with attempts(cluster, runner, job_image.pinned) as ours:
        orphan, living = run_name(), run_name()
        marks = {
            orphan: made_marks("runner-9", ours.cluster_uid, 1).annotations(orphan),
            living: made_marks("runner-9", ours.cluster_uid, 3600).annotations(living),
            (copied := run_name()): made_marks("runner-9", ours.cluster_uid, 1).annotations(orphan),
            (elsewhere := run_name()): made_marks("runner-9", "another cluster", 1).annotations(elsewhere),
            (forged := run_name()): {"lockgate.dev/mark": '{"v":1} 00'},
        }
        for name, annotations in marks.items():
            made = run_namespace(name)
            made["metadata"]["annotations"] |= annotations
            runner.api.ask("POST", "/api/v1/namespaces", made)
        try:
            view = ApiNamespaces(ours.cluster.api)
            created = (await view.run_namespaces())[1]
            two_seconds = 2 * STUCK_AFTER / STUCK_AFTER.seconds
            async with asyncio.timeout(PATIENCE):
                while (await view.run_namespaces())[1] < created + two_seconds:  # noqa: ASYNC110  (its clock has no event)
                    await asyncio.sleep(0.2)
            reapers = [Reaper(made_marks(f"runner-{number}", ours.cluster_uid)) for number in range(2, 6)]
            rounds = await asyncio.gather(*(one.round(view, tuple) for one in reapers))
            verdicts = [{each.name: each.verdict for each in found} for found in rounds]
            assert all(said[orphan] in (Verdict.ORPHAN, Verdict.GOING) for said in verdicts if orphan in said)
            await soon(lambda: cluster.kubectl("get", "namespace", orphan, check=False).returncode, 1)
            assert all(said[living] is Verdict.KEPT for said in verdicts)
            left = {name: said[name] for said in verdicts for name in (copied, elsewhere, forged)}
            assert set(left.values()) == {Verdict.FOREIGN}
            there = {item["metadata"]["name"] for item in (await view.run_namespaces())[0]}
            assert {living, copied, elsewhere, forged} <= there
        finally:
            for name in marks:
                cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
