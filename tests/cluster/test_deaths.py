"""Parts of a real cluster that die in the middle of a start or a run: it ends with its reason, or goes on once they are back, and leaves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.attempts import proven, soon, within
from tests.cluster.identity import Identity
from tests.cluster.node import Node
from tests.cluster.providers import made
from tests.cluster.running import Cluster
from tests.cluster.test_provider import WAITS, clean

from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes import api as client
from lockgate.runner.sandbox.kubernetes import enclosure as enclosures
from lockgate.runner.sandbox.kubernetes import watch as watches
from lockgate.runner.sandbox.kubernetes.enclosure import Enclosure
from lockgate.runner.sandbox.kubernetes.failures import pod_end
from lockgate.runner.sandbox.kubernetes.objects import namespace_name
from lockgate.runner.sandbox.kubernetes.provider import KubernetesSandbox
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot
from lockgate.testing.sandbox import Bench

pytestmark = [pytest.mark.kubernetes, pytest.mark.node]
AGES = 300.0
"""Seconds; more than any wait of a test that is not broken."""
Benches = Callable[..., Bench]


@pytest.fixture
async def benches(
    cluster: Cluster, runner: Identity, job_image: Image, tmp_path: Path
) -> AsyncIterator[Callable[..., Bench]]:
    """Benches of providers with other settings than usual."""
    opened: list[KubernetesSandbox] = []

    def bench_with(**changes: Any) -> Bench:
        opened.append(made(cluster, runner, job_image.pinned, **changes))
        return Bench(opened[-1], JobRoot(Path(INSIDE), "", {}), tmp_path, copies=True)

    yield bench_with
    for each in opened:
        await each.close()


async def test_a_run_outlives_an_api_server_that_dies_and_its_end_is_seen(
    cluster: Cluster, benches: Benches, cluster_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its watch is cut, and what the new server remembers begins later than what was last seen."""
    monkeypatch.setattr(watches, "FIRST_SECONDS", AGES)
    bench = benches()
    async with bench.running("begin()\nframes.read_frame(channel)\nresult()\n", stage="apply") as run:
        await run.channel.receive()
        await run.channel.send({"type": "inputs"})
        await run.channel.receive()
        assert isinstance(bench.provider, KubernetesSandbox)
        (enclosure,) = bench.provider._enclosures.values()
        (uid,) = enclosure.watch.pods
        cluster_node.kill("kube-apiserver")
        await soon(lambda: enclosure.watch.silent is not None)
        enclosure.watch._version = "1"  # as of one that was away for hours
        await asyncio.to_thread(cluster_node.mend)
        await soon(lambda: enclosure.watch.silent is None)
        assert enclosure.watch.lists > 0, "the server said that it does not remember"
        await run.channel.send({"type": "go"})
        assert (await run.channel.receive())["type"] == "result"
        report = await within(run.wait(), "the end of the run")
        assert (report.cause, report.exit_code) == ("exit", 0), report
        assert await enclosure.watch.until(uid, pod_end, AGES) is not None, "by its node's word too"
    await clean(cluster, bench)


MOMENTS = pytest.mark.parametrize("moment", ["before its pod is ordered", "after its pod was ordered"])


def at(patch: pytest.MonkeyPatch, moment: str, fault: Callable[[Enclosure], Awaitable[None]]) -> None:
    """Have something happen at this moment of a start, exactly."""
    make = Enclosure.make

    async def with_fault(self: Enclosure, *given: Any) -> Any:
        if moment.startswith("before"):
            await fault(self)
        pod = await make(self, *given)
        if moment.startswith("after"):
            await fault(self)
        return pod

    patch.setattr(Enclosure, "make", with_fault)


@MOMENTS
async def test_an_api_server_that_dies_in_the_middle_of_a_start_ends_it_and_nothing_is_left(
    cluster: Cluster, benches: Benches, cluster_node: Node, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    bench = benches(start_seconds=1)
    cluster_node.stop("kube-scheduler")  # so that the pod is not quicker

    async def fault(enclosure: Enclosure) -> None:
        cluster_node.kill("kube-apiserver")
        await soon(lambda: enclosure.watch.silent is not None)
        impatient.setattr(client, "PATIENCE_SECONDS", 1.0)  # of a server that stays away

    with monkeypatch.context() as impatient:
        at(impatient, moment, fault)
        with pytest.raises(SandboxUnavailable, match="the API server does not answer"):
            await bench.provider.start(bench.spec(WAITS))
    await asyncio.to_thread(cluster_node.mend)
    await clean(cluster, bench)


@MOMENTS
async def test_a_start_goes_on_with_an_api_server_that_is_back(
    cluster: Cluster, benches: Benches, cluster_node: Node, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before it knows its roles again, it refuses."""
    bench, died = benches(), asyncio.Event()
    monkeypatch.setattr(client, "PATIENCE_SECONDS", AGES)
    monkeypatch.setattr(enclosures, "ROLE_SECONDS", AGES)
    monkeypatch.setattr(watches, "FIRST_SECONDS", AGES)
    cluster_node.stop("kube-scheduler")

    async def fault(enclosure: Enclosure) -> None:
        cluster_node.kill("kube-apiserver")
        died.set()

    at(monkeypatch, moment, fault)
    starting = asyncio.create_task(bench.provider.start(bench.spec(WAITS)))
    await within(died.wait(), "the moment of the start at which it dies")
    await asyncio.to_thread(cluster_node.mend)
    await works(cluster, bench, starting)


async def works(cluster: Cluster, bench: Bench, starting: asyncio.Task[Any]) -> None:
    """What was started is there, and ends as ever."""
    run = await within(starting, "the start that goes on")
    assert (await run.channel.receive())["type"] == "hello"
    assert (await bench.provider.destroy(run.id)).torn_down
    await clean(cluster, bench)


PARTS = pytest.mark.parametrize("part", ["kubelet", "containerd"])


@PARTS
async def test_a_node_whose_part_dies_in_the_middle_of_a_start_runs_nothing_and_nothing_is_left(
    cluster: Cluster, benches: Benches, cluster_node: Node, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    bench = benches(start_seconds=5, teardown_seconds=4)

    async def fault(enclosure: Enclosure) -> None:
        cluster_node.kill(part)

    at(monkeypatch, "before its pod is ordered", fault)
    with pytest.raises(SandboxUnavailable, match=r"the pod did not start in time|no node takes the pod"):
        await bench.provider.start(bench.spec(WAITS))
    await asyncio.to_thread(cluster_node.mend)
    await proven(partial(released, bench), True)
    await clean(cluster, bench)


async def released(bench: Bench) -> bool:
    """Whether the end of its namespace can be shown by now."""
    proof = await bench.provider.release(bench.enclosure)
    return proof is not None and proof.torn_down


@PARTS
async def test_a_start_goes_on_with_a_node_whose_part_is_back(
    cluster: Cluster, benches: Benches, cluster_node: Node, part: str
) -> None:
    """The pod is held in the middle of its start: without the agent of its policies it gets no network."""
    bench = benches()
    place = namespace_name(bench.enclosure)
    cluster_node.stop("netpol")
    starting = asyncio.create_task(bench.provider.start(bench.spec(WAITS)))
    await soon(lambda: "FailedCreatePodSandBox" in events(cluster, place))
    assert not starting.done()
    cluster_node.kill(part)
    await asyncio.to_thread(cluster_node.mend)
    await works(cluster, bench, starting)


def events(cluster: Cluster, place: str) -> set[str]:
    """What the cluster's parts told of a namespace, in one word each."""
    return {each["reason"] for each in cluster.api.ask("GET", f"/api/v1/namespaces/{place}/events")["items"]}
