"""Clusters that change pods on their way: what is kept is compared with what was ordered, and nothing is sent to another pod than that."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.attempts import within
from tests.cluster.identity import USER, Identity, unheld
from tests.cluster.providers import made
from tests.cluster.running import Cluster, until
from tests.cluster.test_provider import WAITS, clean

from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes import objects
from lockgate.runner.sandbox.kubernetes.objects import PodPlan, namespace_name
from lockgate.runner.sandbox.kubernetes.ordered import difference
from lockgate.runner.sandbox.kubernetes.provider import KubernetesSandbox
from lockgate.runner.sandbox.port import SandboxLimits, SandboxUnavailable
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot
from lockgate.testing.sandbox import Bench

pytestmark = [pytest.mark.kubernetes, pytest.mark.node]
GROUP = "admissionregistration.k8s.io/v1"
CLASS = "lockgate-test-class"
"""The runtime that is there anyhow, by a name of its own."""
SMALL = SandboxLimits(memory_bytes=64 << 20, output_bytes=1)
BESIDE = (
    "Object.spec.containers{name: 'beside', image: object.spec.containers[0].image, imagePullPolicy: 'Never', command: ['/bin/true'], "
    "resources: object.spec.containers[0].resources, securityContext: object.spec.containers[0].securityContext}"
)
PATCHES = {
    "a sidecar": (
        f"JSONPatch{{op: 'add', path: '/spec/containers/-', value: {BESIDE}}}",
        "spec.containers[1] was added (beside)",
    ),
    "a dropped RuntimeClass": (
        "JSONPatch{op: 'remove', path: '/spec/runtimeClassName'}",
        "spec.runtimeClassName is missing",
    ),
    "a variable and a volume": (
        "JSONPatch{op: 'add', path: '/spec/volumes/-', value: Object.spec.volumes{name: 'more', emptyDir: Object.spec.volumes.emptyDir{}}}, "
        "JSONPatch{op: 'add', path: '/spec/containers/0/env/-', value: Object.spec.containers.env{name: 'LD_PRELOAD', value: '/more/x.so'}}",
        "was added (LD_PRELOAD)",
    ),
}


@pytest.fixture
async def classed(cluster: Cluster, runner: Identity, job_image: Image) -> AsyncIterator[KubernetesSandbox]:
    """A provider whose sandboxes of the class gvisor get a RuntimeClass that runs here."""
    kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass"}
    cluster.apply({**kind, "metadata": {"name": CLASS}, "handler": "runc"})
    found = made(cluster, runner, job_image.pinned)
    found._cluster = replace(found._cluster, runtime_classes={"gvisor": CLASS})
    yield found
    await found.close()


@asynccontextmanager
async def mutating(cluster: Cluster, place: str, expression: str, order: Mapping[str, Any]) -> AsyncIterator[None]:
    """A MutatingAdmissionPolicy for the pods of one namespace, in force."""
    name = f"lockgate-test-{secrets.token_hex(4)}"
    matched = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place}},
        "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    }
    spec = {
        "matchConstraints": matched,
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": f"[{expression}]"}}],
    }
    cluster.apply(
        {"apiVersion": GROUP, "kind": "MutatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec},
        {
            "apiVersion": GROUP,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name},
        },
    )
    try:
        await asyncio.to_thread(until, lambda: tried(cluster, place, order) is not None)
        yield
    finally:
        cluster.kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", name)
    await asyncio.to_thread(until, lambda: tried(cluster, place, order) is None)


def tried(cluster: Cluster, place: str, order: Mapping[str, Any]) -> str | None:
    """What the API server makes of a pod that is not made: a new policy is not in force at once."""
    words = ("create", "-f", "-", "-n", place, "--dry-run=server", "-o", "json")
    held = json.loads(cluster.kubectl(*words, f"--as={USER}", stdin=json.dumps(order)).stdout)
    return difference(order, held)


def an_order(image: str) -> dict[str, Any]:
    plan = PodPlan(
        "cd" * 16, 9, image, "Never", ("/bin/true",), {"A": "1"}, {"U": "metadata.uid"}, "/run/t/ticket", (), SMALL, 1234, 100, CLASS
    )  # fmt: skip
    return objects.pod(plan)


async def test_a_pod_that_was_changed_on_its_way_is_refused_by_the_place_that_differs(
    cluster: Cluster, classed: KubernetesSandbox, job_image: Image, tmp_path: Path
) -> None:
    bench = Bench(classed, JobRoot(Path(INSIDE), "", {}), tmp_path, copies=True)
    place = namespace_name(bench.enclosure)
    async with bench.running(WAITS, sandbox_class="gvisor") as run:
        assert run.image == job_image.digest, "the pod that is left alone is let in"
        for expression, said in PATCHES.values():
            async with mutating(cluster, place, expression, an_order(job_image.pinned)):
                with pytest.raises(SandboxUnavailable) as refused:
                    await classed.start(bench.spec(WAITS, sandbox_class="gvisor"))
            assert said in refused.value.reason
            assert "mutating" in refused.value.fix
    await clean(cluster, bench)


async def test_a_pod_that_gets_a_container_while_it_runs_ends_at_once(
    cluster: Cluster, bench: Bench, job_image: Image
) -> None:
    """As `kubectl debug` does where admission lets it: what is beside the job could read it."""
    async with bench.running(WAITS) as run:
        (pod,) = cluster.api.ask("GET", f"/api/v1/namespaces/{namespace_name(bench.enclosure)}/pods")["items"]
        beside = {
            "name": "debugger",
            "image": job_image.pinned,
            "imagePullPolicy": "Never",
            "command": ["/bin/true"],
            "securityContext": pod["spec"]["containers"][0]["securityContext"],
        }
        path = (
            f"/api/v1/namespaces/{namespace_name(bench.enclosure)}/pods/{pod['metadata']['name']}/ephemeralcontainers"
        )
        patch = {"spec": {"ephemeralContainers": [beside]}}
        with unheld(cluster, namespace_name(bench.enclosure)):
            cluster.api.ask("PATCH", path, patch, kind="application/strategic-merge-patch+json")
        report = await within(run.wait(), "the end of the run")
    assert report.cause == "lost"
    assert report.reason == "the pod was changed while it ran: spec.ephemeralContainers was added (debugger)"
    await clean(cluster, bench)
