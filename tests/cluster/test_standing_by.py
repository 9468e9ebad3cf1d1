"""The next stage's pod in a real cluster: it stands by while the last one goes, is given nothing before its start, and goes like any other where it is not used."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.attempts import within
from tests.cluster.identity import Identity
from tests.cluster.providers import made
from tests.cluster.running import PATIENCE, Cluster, until
from tests.cluster.test_provider import WAITS, clean

from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes import provider as module
from lockgate.runner.sandbox.kubernetes.objects import namespace_name
from lockgate.runner.sandbox.kubernetes.provider import KubernetesSandbox
from lockgate.runner.sandbox.port import InjectedFile, SandboxSpec, SandboxUnavailable
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot
from lockgate.testing.sandbox import Bench, converse

pytestmark = [pytest.mark.kubernetes, pytest.mark.node]
PLAN = "/lockgate-plan/plan"
READS = f'begin()\nresult(plan=open("{PLAN}").read(100), size=os.path.getsize("{PLAN}"))\n'


@pytest.fixture(autouse=True)
def stands_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long this machine takes to end the last one."""
    monkeypatch.setattr(module, "STANDS_SECONDS", PATIENCE)


def pods(cluster: Cluster, bench: Bench) -> dict[str, str]:
    """Each pod's sandbox, by the pod's name."""
    found = cluster.api.ask("GET", f"/api/v1/namespaces/{namespace_name(bench.enclosure)}/pods")["items"]
    return {pod["metadata"]["name"]: pod["metadata"]["annotations"]["lockgate.dev/sandbox"] for pod in found}


async def stands_by(provider: KubernetesSandbox, spec: SandboxSpec) -> Any:
    """The stage once its pod was let in."""
    await within(asyncio.wait([provider._ahead[spec.id]]), "the pod that stands by")
    return provider._ahead[spec.id].result()


def reads(bench: Bench, plan: str = "") -> SandboxSpec:
    return bench.spec(READS, files=(InjectedFile(PLAN, plan.encode()),))


async def test_it_is_there_before_the_last_one_is_gone_and_is_sent_only_what_its_start_says(
    cluster: Cluster, provider: KubernetesSandbox, bench: Bench
) -> None:
    foreseen = reads(bench, "what was foreseen")
    async with bench.running(WAITS):
        assert provider.foresee(bench.enclosure, foreseen)
        stage = await stands_by(provider, foreseen)
        assert set(pods(cluster, bench)) == {"stage-1", "stage-2"}
        assert (stage.run, stage.host._placed.done()) == (None, False), "nothing was ordered yet"
    before = pods(cluster, bench)
    assert before == {"stage-2": foreseen.id}
    run = await provider.start(replace(foreseen, files=(InjectedFile(PLAN, b"what it came to"),)))
    assert pods(cluster, bench) == before, "no other pod was made"
    assert (await converse(run, {}))["plan"] == "what it came to"
    assert (await provider.destroy(foreseen.id)).torn_down
    await clean(cluster, bench)


async def test_one_that_will_not_do_is_ended_and_another_is_made(
    cluster: Cluster, provider: KubernetesSandbox, bench: Bench
) -> None:
    foreseen = reads(bench)
    async with bench.running(WAITS):
        provider.foresee(bench.enclosure, foreseen)
        await stands_by(provider, foreseen)
    larger = replace(foreseen, files=(InjectedFile(PLAN, b"x" * (2 << 20)),))
    run = await provider.start(larger)
    assert pods(cluster, bench) == {"stage-3": foreseen.id}, "the one that stood by has no room for so much"
    assert (await converse(run, {}))["size"] == 2 << 20
    assert (await provider.destroy(foreseen.id)).torn_down
    await clean(cluster, bench)


async def test_one_that_is_not_needed_is_destroyed_like_any_other_even_while_it_is_made(
    cluster: Cluster, provider: KubernetesSandbox, bench: Bench
) -> None:
    first, second = reads(bench), reads(bench)
    async with bench.running(WAITS):
        provider.foresee(bench.enclosure, first)
        await stands_by(provider, first)
        provider.foresee(bench.enclosure, second)
        for proof in await asyncio.gather(provider.destroy(first.id), provider.destroy(second.id)):
            assert proof.torn_down, proof
        assert set(pods(cluster, bench)) == {"stage-1"}
    await clean(cluster, bench)


async def test_one_that_was_removed_meanwhile_is_given_nothing(
    cluster: Cluster, provider: KubernetesSandbox, bench: Bench
) -> None:
    foreseen = reads(bench)
    async with bench.running(WAITS):
        provider.foresee(bench.enclosure, foreseen)
        await stands_by(provider, foreseen)
        cluster.kubectl("delete", "pod", "stage-2", "-n", namespace_name(bench.enclosure))
        with pytest.raises(SandboxUnavailable):
            await provider.start(foreseen)
        assert set(pods(cluster, bench)) == {"stage-1"}
    await clean(cluster, bench)


async def test_a_runner_that_comes_back_finds_what_stood_by(
    cluster: Cluster, runner: Identity, job_image: Image, tmp_path: Path
) -> None:
    name = f"standing-{secrets.token_hex(4)}"
    dies = made(cluster, runner, job_image.pinned, name)
    bench = Bench(dies, JobRoot(Path(INSIDE), "", {}), tmp_path, copies=True)
    foreseen = reads(bench)
    async with bench.running(WAITS):
        dies.foresee(bench.enclosure, foreseen)
        await stands_by(dies, foreseen)
    after = made(cluster, runner, job_image.pinned, name)
    assert (await after.destroy(foreseen.id)).checks == {"pod": True, "processes": True}
    assert pods(cluster, bench) == {}
    await clean(cluster, replace(bench, provider=after))
    await after.close()
    await dies.close()


async def test_when_none_follows_the_namespace_goes_with_the_last_pod(
    cluster: Cluster, provider: KubernetesSandbox, bench: Bench
) -> None:
    async with bench.running(WAITS):
        assert provider.foresee(bench.enclosure, None)

    def goes() -> bool:
        shown = cluster.kubectl("get", "namespace", namespace_name(bench.enclosure), "-o", "json", check=False)
        return "NotFound" in shown.stderr or '"deletionTimestamp"' in shown.stdout

    await asyncio.to_thread(until, goes)
    await clean(cluster, bench)
