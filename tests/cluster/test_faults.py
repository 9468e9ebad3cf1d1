"""Faults of a real cluster in the middle of a stage: each has an honest end with its reason, and leaves nothing."""

from __future__ import annotations

import asyncio
import datetime
import http.client
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.api import Access, Api, Refused
from tests.cluster.attempts import soon, within
from tests.cluster.identity import ACCOUNT, NAMESPACE, Identity
from tests.cluster.providers import made
from tests.cluster.running import Cluster
from tests.cluster.test_provider import WAITS, clean

from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes import api as client
from lockgate.runner.sandbox.kubernetes import run as running
from lockgate.runner.sandbox.kubernetes.objects import namespace_name
from lockgate.runner.sandbox.port import Bind, SandboxUnavailable
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot
from lockgate.testing.sandbox import Bench

pytestmark = [pytest.mark.kubernetes, pytest.mark.node]
PRESSURE = "node.kubernetes.io/memory-pressure"
AGES = 300.0
"""Seconds; more than any wait of a test that is not broken."""


async def test_a_pod_that_a_drain_evicts_is_lost_by_the_clusters_own_word(
    cluster: Cluster, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first process is told nothing but SIGTERM."""
    monkeypatch.setattr(running, "_ELSEWHERE_SECONDS", AGES)
    async with bench.running(WAITS) as run:
        place = namespace_name(bench.enclosure)
        (pod,) = cluster.api.ask("GET", f"/api/v1/namespaces/{place}/pods")["items"]
        name = pod["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": place}}
        cluster.api.ask("POST", f"/api/v1/namespaces/{place}/pods/{name}/eviction", eviction)
        report = await within(run.wait(), "the end of the run")
    assert report.cause == "lost"
    assert "EvictionByEvictionAPI" in report.reason
    await clean(cluster, bench)


async def test_a_token_that_ends_in_the_middle_is_read_anew_and_the_run_goes_on(
    cluster: Cluster, runner: Identity, job_image: Image, tmp_path: Path
) -> None:
    bound = f"lockgate-test-{secrets.token_hex(4)}"
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": bound, "namespace": NAMESPACE}})
    mine = tmp_path / "kubeconfig"
    mine.write_text(runner.kubeconfig.read_text())
    words = ("create", "token", ACCOUNT, "-n", NAMESPACE, "--bound-object-kind=Secret", f"--bound-object-name={bound}")
    (tmp_path / "token").write_text(first := cluster.kubectl(*words).stdout.strip())
    other = made(cluster, Identity(mine, runner.access), job_image.pinned)
    bench = Bench(other, JobRoot(Path(INSIDE), "", {}), tmp_path, copies=True)
    run = await other.start(bench.spec(WAITS))
    cluster.kubectl("delete", "secret", bound, "-n", NAMESPACE)
    await soon(lambda: told(cluster, first), 401)  # it forgets within ten seconds that it believed it
    assert other._cluster.api.access.token.value() == first, "it is shown still"  # type: ignore[union-attr]
    (tmp_path / "token").write_text((runner.kubeconfig.parent / "token").read_text())
    assert (await other.destroy(run.id)).torn_down
    await clean(cluster, bench)
    await other.close()


def told(cluster: Cluster, token: str) -> int:
    """What the API server says to a token."""
    admin = cluster.access
    try:
        Api(Access(admin.server, admin.authority, b"", b"", token)).ask("GET", f"/api/v1/namespaces/{NAMESPACE}")
    except Refused as refused:
        return refused.status
    return 200


async def test_a_node_under_pressure_takes_no_pod_and_the_scheduler_says_why(
    cluster: Cluster, runner: Identity, job_image: Image, tmp_path: Path
) -> None:
    name = f"lockgate-test-{secrets.token_hex(4)}"
    bench = Bench(
        made(cluster, runner, job_image.pinned, start_seconds=3, node_selector={"lockgate.test/node": name}),
        JobRoot(Path(INSIDE), "", {}),
        tmp_path,
        copies=True,
    )
    with a_node_under_pressure(cluster, name):
        await soon(lambda: PRESSURE in taints(cluster, name))
        async with asyncio.timeout(AGES):
            while "untolerated taint" not in (refused := await refusal(bench)).reason:
                # The scheduler has not heard of the node yet, or did not come to look at the pod.
                assert re.search("no node takes the pod|the pod did not start in time", refused.reason), refused
        assert "free a node" in refused.fix
    await clean(cluster, bench)
    await bench.provider.close()


async def refusal(bench: Bench) -> SandboxUnavailable:
    with pytest.raises(SandboxUnavailable) as refused:
        await bench.provider.start(bench.spec(WAITS))
    return refused.value


@contextmanager
def a_node_under_pressure(cluster: Cluster, name: str) -> Iterator[None]:
    """By its own word: the condition is told as a kubelet does, and Kubernetes makes a taint of it."""
    labels = {"lockgate.test/node": name}
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    room = {"cpu": "8", "memory": "16Gi", "pods": "100", "ephemeral-storage": "100Gi"}
    try:
        says(cluster, name, {"capacity": room, "allocatable": room})
        yield
    finally:
        cluster.kubectl("delete", "node", name)


def says(cluster: Cluster, name: str, more: dict[str, Any] | None = None) -> None:
    """As a kubelet that lives: after twenty seconds of silence nobody would believe what it said."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {"status": "True", "reason": "Told", "lastHeartbeatTime": now}
    conditions = [{"type": kind, **told} for kind in ("Ready", "MemoryPressure")]
    status = {"status": {"conditions": conditions, **(more or {})}}
    cluster.api.ask("PATCH", f"/api/v1/nodes/{name}/status", status, kind="application/strategic-merge-patch+json")


def taints(cluster: Cluster, name: str) -> list[str]:
    """Those of a node that has just said how it is."""
    says(cluster, name)
    return [each["key"] for each in cluster.api.ask("GET", f"/api/v1/nodes/{name}")["spec"].get("taints") or ()]


async def test_a_server_that_is_too_busy_for_us_is_asked_until_it_is_not(
    cluster: Cluster, bench: Bench, runner: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own fairness: for this namespace no request of a runner's has a seat."""
    monkeypatch.setattr(client, "PATIENCE_SECONDS", AGES)
    place = namespace_name(bench.enclosure)
    with no_seat(cluster, place) as rule:
        await soon(lambda: asked(runner, place), 429)
        before = rejected(cluster, rule)
        assert before > 0
        starting = asyncio.create_task(bench.provider.start(bench.spec(WAITS)))
        await soon(lambda: rejected(cluster, rule) > before)
        assert not starting.done()
    run = await within(starting, "the start that goes on")
    assert (await run.channel.receive())["type"] == "hello"
    assert (await bench.provider.destroy(run.id)).torn_down
    await clean(cluster, bench)


@contextmanager
def no_seat(cluster: Cluster, place: str) -> Iterator[str]:
    """A level without seats lets one request in where none is, so one is there: of somebody else, held up by an admission that never answers."""
    name, group = f"lockgate-test-{secrets.token_hex(4)}", "flowcontrol.apiserver.k8s.io/v1"
    seats = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
    level = {"type": "Limited", "limited": {**seats, "limitResponse": {"type": "Reject"}}}
    with cluster.namespace() as theirs, socket.create_server(("127.0.0.1", 0)) as silent:
        rules = [flow(NAMESPACE, ACCOUNT, place), flow(theirs, "default", theirs)]
        spec = {"matchingPrecedence": 2, "priorityLevelConfiguration": {"name": name}, "rules": rules}
        cluster.apply(
            {"apiVersion": group, "kind": "PriorityLevelConfiguration", "metadata": {"name": name}, "spec": level},
            {"apiVersion": group, "kind": "FlowSchema", "metadata": {"name": name}, "spec": spec},
            hook(name, theirs, silent.getsockname()[1]),
        )
        cluster.kubectl(
            "create", "rolebinding", "x", "--clusterrole=edit", f"--serviceaccount={theirs}:default", "-n", theirs
        )
        token, admin, over = (
            cluster.kubectl("create", "token", "default", "-n", theirs).stdout.strip(),
            cluster.access,
            threading.Event(),
        )
        somebody = Api(Access(admin.server, admin.authority, b"", b"", token))
        holders = [threading.Thread(target=hold, args=(somebody, theirs, over), daemon=True) for _ in range(2)]
        for each in holders:
            each.start()
        try:
            yield name
        finally:
            over.set()
            cluster.kubectl("delete", "flowschema,prioritylevelconfiguration,validatingwebhookconfiguration", name)
    for each in holders:
        each.join(AGES)


def flow(namespace: str, account: str, place: str) -> dict[str, Any]:
    """Whatever this account asks for in this place."""
    every = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": [place]}
    who = {"kind": "ServiceAccount", "serviceAccount": {"name": account, "namespace": namespace}}
    return {"subjects": [who], "resourceRules": [every]}


def hook(name: str, place: str, port: int) -> dict[str, Any]:
    one = {
        "name": "silent.lockgate.test",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 30,
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return {**kind, "metadata": {"name": name}, "webhooks": [one]}


def hold(somebody: Api, place: str, over: threading.Event) -> None:
    """Ask for what is not answered; the next one takes the seat when that is given up."""
    while not over.is_set():
        with suppress(Refused, OSError, http.client.HTTPException):
            somebody.ask("POST", f"/api/v1/namespaces/{place}/secrets?dryRun=All", {"metadata": {"generateName": "x"}})
        over.wait(0.05)


def asked(runner: Identity, place: str) -> int:
    """What the API server answers a runner that asks for this namespace, which there is not yet."""
    try:
        runner.api.ask("GET", f"/api/v1/namespaces/{place}")
    except Refused as refused:
        return refused.status
    return 200


def rejected(cluster: Cluster, rule: str) -> int:
    """How many requests this rule has refused, by the API server's own count."""
    counted = "apiserver_flowcontrol_rejected_requests_total{"
    lines = [line for line in cluster.api.text("/metrics").splitlines() if line.startswith(counted) and rule in line]
    return sum(int(float(line.split()[-1])) for line in lines)


async def test_a_job_that_fills_the_nodes_disk_is_evicted_and_its_node_says_why(
    cluster: Cluster, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_ELSEWHERE_SECONDS", AGES)
    shown = bench.shown()
    (shown / "file").write_text("x")
    program = (
        "begin()\n"
        "for number in range(16):\n"
        "    with open(f'/shown/{number}', 'wb') as file: file.write(b'x' * (1 << 20))\n"
        "channel.recv(1)\n"
    )
    async with bench.running(program, binds=(Bind(shown, "/shown"),)) as run:
        await run.channel.receive()
        await run.channel.send({"type": "inputs"})
        report = await within(run.wait(), "the end of the run")
    assert report.cause == "disk", report
    assert "the node evicted the pod" in report.reason
    await clean(cluster, bench)
