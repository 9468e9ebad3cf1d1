"""The provider in a cluster that does not do as it should: each attempt has an honest end with a reason and a fix, and leaves nothing."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.attempts import within
from tests.cluster.identity import SYSTEM, Identity
from tests.cluster.providers import made
from tests.cluster.running import PATIENCE, Cluster, until

from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes import objects
from lockgate.runner.sandbox.kubernetes import run as runs
from lockgate.runner.sandbox.kubernetes.objects import namespace_name
from lockgate.runner.sandbox.kubernetes.provider import KubernetesSandbox
from lockgate.runner.sandbox.port import Bind, SandboxSpec, SandboxUnavailable
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot
from lockgate.testing.sandbox import Bench

pytestmark = [pytest.mark.kubernetes, pytest.mark.node]
WAITS = "begin()\nchannel.recv(1)\n"


async def clean(cluster: Cluster, bench: Bench) -> None:
    """The namespace can be released, is proven gone, and is gone."""
    proof = await bench.provider.release(bench.enclosure)
    assert proof is not None and proof.torn_down, proof
    assert proof.checks == {"namespace": True, "processes": True}
    shown = cluster.kubectl("get", "namespace", namespace_name(bench.enclosure), check=False)
    assert "NotFound" in shown.stderr


async def test_an_image_that_is_not_there_ends_the_start_with_its_fix(
    cluster: Cluster, runner: Identity, job_image: Image
) -> None:
    other = made(cluster, runner, f"{job_image.name}@sha256:{'0' * 64}")
    bench = Bench(other, JobRoot(Path(INSIDE), "", {}), Path("/tmp"))
    with pytest.raises(SandboxUnavailable, match="ErrImageNeverPull") as refused:
        await other.start(bench.spec(WAITS))
    assert "import it" in refused.value.fix
    await clean(cluster, bench)
    await other.close()


async def test_a_runtime_class_that_is_not_there_ends_the_start_with_its_fix(cluster: Cluster, bench: Bench) -> None:
    with pytest.raises(SandboxUnavailable, match="there-is-no-such-class") as refused:
        await bench.provider.start(bench.spec(WAITS, sandbox_class="gvisor"))
    assert "runtime_classes" in refused.value.fix
    await clean(cluster, bench)


async def test_a_later_stage_of_an_attempt_may_need_more_than_its_first(cluster: Cluster, bench: Bench) -> None:
    """An apply comes after its check, and has a plan file and a state to write besides."""
    sent, state = bench.base / "sent", bench.base / "state"
    sent.mkdir()
    (sent / "large").write_bytes(b"x" * (8 << 20))
    state.write_bytes(b"before")
    more = (Bind(sent, "/lockgate-tool"), Bind(state, "/work/state/kept", writable=True, owned=True))
    counts = (
        "begin()\nresult(size=os.path.getsize('/lockgate-tool/large') if os.path.exists('/lockgate-tool') else 0)\n"
    )
    assert (await bench.ask(counts))["size"] == 0
    assert (await bench.ask(counts, binds=more))["size"] == 8 << 20
    await clean(cluster, bench)


async def test_a_quota_that_denies_a_pod_is_told_and_the_others_run_on(cluster: Cluster, bench: Bench) -> None:
    async with bench.running(WAITS):
        hard = {
            "metadata": {"name": "theirs", "namespace": namespace_name(bench.enclosure)},
            "spec": {"hard": {"pods": "1"}},
        }
        cluster.apply({"apiVersion": "v1", "kind": "ResourceQuota", **hard}, by=SYSTEM)
        await asyncio.to_thread(counted, cluster, bench.enclosure)
        with pytest.raises(SandboxUnavailable, match="exceeded quota") as refused:
            await bench.provider.start(bench.spec(WAITS))
        assert "quota" in refused.value.fix
    await clean(cluster, bench)


def counted(cluster: Cluster, enclosure: str) -> None:
    """A new quota denies nothing before its controller has counted."""
    said = cluster.kubectl(
        *("wait", "resourcequota/theirs", "-n", namespace_name(enclosure), "--timeout=60s"),
        "--for=jsonpath={.status.used.pods}=1",
    )
    assert "condition met" in said.stdout


async def test_a_webhook_that_refuses_pods_is_told_and_leaves_nothing(cluster: Cluster, bench: Bench) -> None:
    name, place = f"lockgate-test-{secrets.token_hex(4)}", namespace_name(bench.enclosure)
    hook = {
        "name": "refuses.lockgate.test",
        "clientConfig": {"url": "https://127.0.0.1:9/nobody"},
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods", "configmaps"]}
        ],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 5,
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    async with bench.running(WAITS):
        cluster.apply({**kind, "metadata": {"name": name}, "webhooks": [hook]})
        try:
            await asyncio.to_thread(until, lambda: "webhook" in tried(cluster, place))
            with pytest.raises(SandboxUnavailable, match="webhook") as refused:
                await bench.provider.start(bench.spec(WAITS))
            assert "webhook" in refused.value.fix
        finally:
            cluster.kubectl("delete", "validatingwebhookconfiguration", name)
    await clean(cluster, bench)


def tried(cluster: Cluster, place: str) -> str:
    """What the API server says of something that is not made: a new webhook is not in force at once."""
    said = cluster.kubectl("create", "configmap", "x", "-n", place, "--dry-run=server", *SYSTEM, check=False)
    return said.stderr


async def test_a_namespace_that_a_human_deletes_ends_its_run_as_lost(cluster: Cluster, bench: Bench) -> None:
    run = await bench.provider.start(bench.spec(WAITS))
    cluster.kubectl("delete", "namespace", namespace_name(bench.enclosure), "--wait=false")
    report = await within(run.wait(), "the end of the run")
    assert report.cause in ("lost", "destroyed"), report
    assert (await bench.provider.destroy(run.id)).torn_down
    await clean(cluster, bench)


async def test_a_job_that_uses_up_its_memory_is_ended_as_that_by_its_nodes_word(
    cluster: Cluster, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_ELSEWHERE_SECONDS", PATIENCE)
    program = (
        "begin()\nblock = bytearray(1 << 30)\nfor at in range(0, len(block), 4096): block[at] = 1\nresult(held=True)\n"
    )
    outcome = await bench.run(program)
    assert outcome.report is not None and (outcome.fault, outcome.report.cause) == ("eof", "oom"), outcome
    await clean(cluster, bench)


async def test_what_a_dead_runner_left_is_reaped_by_the_next_and_a_strangers_is_not(
    cluster: Cluster, runner: Identity, job_image: Image
) -> None:
    first = made(cluster, runner, job_image.pinned)
    stranger = made(cluster, runner, job_image.pinned)
    bench, other = (Bench(each, JobRoot(Path(INSIDE), "", {}), Path("/tmp")) for each in (first, stranger))
    run, kept = await first.start(bench.spec(WAITS)), await stranger.start(other.spec(WAITS))
    later = made(cluster, runner, job_image.pinned, name=first._cluster.runner)
    proofs = {proof.sandbox_id: proof for proof in await later.reap([])}
    assert set(proofs) == {run.id, bench.enclosure}
    assert all(proof.torn_down for proof in proofs.values()), proofs
    assert (await later.destroy(run.id)).torn_down, "asked again, as a journal does"
    assert (await stranger.destroy(kept.id)).torn_down
    for each in (later, stranger, first):
        await each.close()


async def test_a_node_that_runs_another_image_than_the_pinned_one_is_found_out(
    cluster: Cluster, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod asks for the image by digest; what the node then says it runs is compared all the same."""
    from lockgate.runner.sandbox.kubernetes import provider as module

    told = "sha256:" + "1" * 64
    monkeypatch.setattr(module, "image_digest", lambda pod: told)
    with pytest.raises(SandboxUnavailable, match=told):
        await bench.provider.start(bench.spec(WAITS))
    await clean(cluster, bench)


async def test_a_canary_that_answers_is_refused_by_the_probe(
    cluster: Cluster, runner: Identity, job_image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection is let through, as in a cluster that enforces no policies."""

    def open_wide(number: int, allowed: object) -> dict[str, Any]:
        policy = objects.deny_all()
        policy["metadata"]["name"] = objects.stage_name(number)
        policy["spec"] = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}
        return policy

    monkeypatch.setattr(objects, "holes", open_wide)
    provider = made(cluster, runner, job_image.pinned)
    with pytest.raises(SandboxUnavailable, match="canary") as refused:
        await provider.probe()
    assert "NetworkPolicy" in refused.value.fix
    await provider.close()


async def test_without_an_enclosure_nothing_is_made(provider: KubernetesSandbox) -> None:
    from lockgate.runner.sandbox.port import SpecRefused

    with pytest.raises(SpecRefused, match="enclosure"):
        await provider.start(SandboxSpec("ab" * 16, "plan", ("/bin/true",)))
