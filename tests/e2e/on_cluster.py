"""A deployment whose sandboxes are pods: gateway and runner as people run them, the runner as no more than deploy/kubernetes lets it be; nothing of it is replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.parse
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.cluster.identity import Identity
from tests.cluster.running import Cluster, until
from tests.e2e.conftest import END_STATES, ROOT, Deployment, roots_dir
from tests.ports import free_ports

from lockgate.cli.bootstrap import Names, Ports, Samples, bootstrap
from lockgate.runner.app import region_secret
from lockgate.runner.sandbox.kubernetes.marks import MarkKey, marked
from lockgate.runner.settings import load_runner_settings

STEP_SECONDS = 300
"""A deadline only keeps a broken test from waiting for ever."""
PROVEN = {"namespace": True, "processes": True}
ENDS = ("succeeded", "denied", "failed", "indeterminate")
TOO_LATE = "the check was too old"
"""What is said where a machine was too busy for 30 seconds: nothing was applied, and an agent asks again."""


@dataclass(frozen=True)
class Given:
    """What a story's deployment is made of: a catalog, and the runner's own word on it."""

    catalog: str
    sources: Mapping[str, Mapping[str, str]]
    runner: Mapping[str, Any]


@dataclass(frozen=True)
class Governed:
    """The deployment, its cluster, and what the API server told of its runner's namespaces and pods from the beginning."""

    deployment: Deployment
    cluster: Cluster
    runner: str

    def namespaces(self, receipts: list[dict[str, Any]]) -> list[str]:
        """The namespace of each attempt, in order; each receipt must prove that its one is gone, with all that ran in it."""
        for receipt in receipts:
            assert [item["checks"] for item in receipt["enclosures"]] == [PROVEN], receipt
            assert all(box["torn_down"] and all(box["checks"].values()) for box in receipt["sandboxes"]), receipt
            assert (receipt["sandbox_class"], receipt["isolated"]) == ("namespace", True)
        return [f"lockgate-run-{receipt['enclosures'][0]['enclosure']}" for receipt in receipts]

    @asynccontextmanager
    async def agent(self, **token: Any) -> AsyncIterator[Client]:
        """An agent's MCP client; alice owns it."""
        bearer = self.deployment.token("deploy-bot", "agent", **token)
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {bearer}"}, timeout=120) as http,
            Client(streamable_http_client(self.deployment.url + "/mcp", http_client=http), mode="auto") as client,
        ):
            yield client

    async def asks(self, client: Client, action: str, target: str, **arguments: Any) -> dict[str, Any]:
        """The agent's call; the operation as it is answered."""
        told = {"target": target, "reason": "more customers", **arguments}
        return dict((await client.call_tool(action, told)).structured_content or {})

    async def comes_to(self, client: Client, view: dict[str, Any], *states: str) -> dict[str, Any]:
        """The operation as the agent follows it, once it is in one of `states`."""
        deadline = time.monotonic() + STEP_SECONDS
        while view["status"] not in states:
            assert view.get("next") is not None and time.monotonic() < deadline, f"{view}\n{self.deployment.logs()}"
            view = await self.looks(client, view)
        return view

    async def comes_to_another_plan(self, client: Client, held: dict[str, Any]) -> dict[str, Any]:
        """The operation once it is held with another plan than `held`."""
        view = held
        while view["status"] != "pending_approval" or view["plan"]["digests"] == held["plan"]["digests"]:
            view = await self.comes_to(client, await self.looks(client, view), "pending_approval", *END_STATES)
            assert view["status"] == "pending_approval", view
        return view

    async def looks(self, client: Client, view: dict[str, Any]) -> dict[str, Any]:
        """The operation as the agent sees it now, or after something happened to it."""
        arguments = {"operation_id": view["operation_id"], "wait_seconds": 20}
        return dict((await client.call_tool("lockgate_get_operation", arguments)).structured_content or {})

    def votes(self, view: Mapping[str, Any], verdict: str) -> None:
        """Bob's vote on what was shown."""
        shown = {name: view["plan"]["digests"][name] for name in ("semantic_sha256", "inputs_sha256")}
        vote = {"verdict": verdict, "comment": "seen", "digests": shown}
        bob = self.deployment.token("bob", roles=("approver",))
        status, told = self.deployment.rest("POST", f"/api/v1/operations/{view['operation_id']}/votes", bob, vote)
        assert status == 200, told

    def receipts(self, operation: str, count: int) -> list[dict[str, Any]]:
        """The receipts of an operation's attempts, in the order of these, once there are so many: a runner sends one when the attempt is gone.

        Of an attempt whose check grew old before it was started nothing counts: another one has taken its place.
        """

        def found() -> list[dict[str, Any]]:
            sent = [item["payload"] for item in self.details(operation)["envelopes"] if item["kind"] == "receipt"]
            return [each for each in sent if "check" not in (did := stages(each)) or "verify" in did]

        until(lambda: len(found()) >= count, self.deployment.logs)
        return sorted(found(), key=lambda receipt: int(receipt["fence"]))

    def details(self, operation: str) -> dict[str, Any]:
        """All that an administrator is told of an operation."""
        people = self.deployment.token("carol", roles=("auditor", "admin"))
        status, told = self.deployment.rest("GET", f"/api/v1/operations/{operation}/details", people)
        assert status == 200, told
        return dict(told)

    def says(self, *words: str) -> dict[str, Any]:
        """What a command of this home answers, as JSON."""
        argv = [sys.executable, "-m", "lockgate.cli", *words, "--home", str(self.deployment.home), "--json"]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return dict(json.loads(done.stdout))

    def carries_its_mark(self, namespace: Mapping[str, Any]) -> bool:
        """Whether a namespace's mark is this very runner's, for this name and this cluster."""
        settings = load_runner_settings(self.deployment.home / "runner.yaml")
        key = MarkKey(region_secret(settings.keys.region, dev=settings.dev))
        return marked(key, self.cluster_uid, namespace).runner == self.runner

    @property
    def cluster_uid(self) -> str:
        """Who the cluster is."""
        return str(self.cluster.api.ask("GET", "/api/v1/namespaces/kube-system")["metadata"]["uid"])


def stages(receipt: Mapping[str, Any]) -> list[str]:
    """What an attempt's sandboxes were for, in order."""
    return [box["stage"] for box in receipt["sandboxes"]]


class Watched:
    """What the API server tells an administrator of one kind of thing, from the moment this was made: nothing of it is missed, however late it is read."""

    def __init__(self, cluster: Cluster, collection: str, selector: str, file: Path) -> None:
        self._file = file
        now = cluster.api.ask("GET", f"{collection}?limit=1")["metadata"]["resourceVersion"]
        query = urllib.parse.urlencode({"watch": "true", "resourceVersion": now, "labelSelector": selector})
        argv = [str(cluster.kubernetes), "kubectl", f"--kubeconfig={cluster.kubeconfig}", "get", "--raw"]
        with file.open("wb") as sink:
            self._process = subprocess.Popen(
                [*argv, f"{collection}?{query}"], stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
            )

    def text(self) -> str:
        """So far, as it was told."""
        return self._file.read_text()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """So far: type and object of each."""
        told = self._file.read_text()
        assert self._process.poll() is None, told
        whole, _, _ = told.rpartition("\n")  # the last line may be half written
        return [(str(event["type"]), dict(event["object"])) for event in map(json.loads, whole.splitlines())]

    def close(self) -> None:
        """Watch no more."""
        self._process.terminate()
        self._process.wait()


@dataclass(frozen=True)
class Seen:
    """The namespaces and pods of one deployment's runner, as they were seen come and go."""

    namespaces: Watched
    pods: Watched

    def made(self) -> dict[str, dict[str, Any]]:
        """Every namespace that was there, by name in order, as it was first seen."""
        found: dict[str, dict[str, Any]] = {}
        for _, each in self.namespaces.events():
            found.setdefault(each["metadata"]["name"], each)
        return found

    def gone(self) -> set[str]:
        """The names of those that were seen deleted."""
        return {each["metadata"]["name"] for kind, each in self.namespaces.events() if kind == "DELETED"}

    def pods_of(self, namespace: str) -> dict[str, dict[str, Any]]:
        """The pods of a namespace by name in order, as they were last seen."""
        return {
            each["metadata"]["name"]: each
            for _, each in self.pods.events()
            if each["metadata"]["namespace"] == namespace
        }


@contextmanager
def seeing(cluster: Cluster, runner: str, place: Path) -> Iterator[Seen]:
    """Watches that are up before anything is made."""
    namespaces = Watched(cluster, "/api/v1/namespaces", f"lockgate.dev/runner={runner}", place / "namespaces")
    pods = Watched(cluster, "/api/v1/pods", "lockgate.dev/stage", place / "pods")
    try:
        yield Seen(namespaces, pods)
    finally:
        namespaces.close()
        pods.close()


def policy() -> str:
    """The default parameters, and that whatever changes production does it in a namespace of its own."""
    data = (ROOT / "src/lockgate/policy/library/data.default.yaml").read_text()
    production = "  - targets: {environments: [production]}\n    max_changes: 50\n"
    assert data.count(production) == 1
    return data.replace(production, production + "    sandbox: namespace\n")


def bootstrapped(home: Path, cluster: Cluster, who: Identity, image: str, given: Given) -> Governed:
    """Keys, settings and catalog below `home`; nothing runs yet."""
    for source, files in given.sources.items():
        for name, text in files.items():
            path = home / "sources" / source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    runner = f"story-{os.urandom(4).hex()}"
    kubernetes: dict[str, Any] = {
        "channel_address": cluster.node_ip,
        "kubeconfig": str(who.kubeconfig),
        "image_pull": "Never",
    }
    kubernetes |= {"start_seconds": STEP_SECONDS, "teardown_seconds": STEP_SECONDS}
    sandbox = {
        "provider": "kubernetes",
        "floor": "namespace",
        "image": image,
        "kubernetes": kubernetes,
        "roots_dir": str(roots_dir()),
    }
    sources = {name: f"sources/{name}" for name in given.sources}
    samples = Samples(
        files={"catalog/all.yaml": given.catalog.encode(), "policy/data.yaml": policy().encode()},
        runner={"sandbox": sandbox, "sources": sources, **given.runner},
    )
    public, runners = free_ports(2)
    bootstrap(
        home,
        Names("story", runner=runner),
        dev=True,
        now=time.time_ns() // 1_000_000,
        ports=Ports(public, runners),
        samples=samples,
    )
    return Governed(Deployment(home, public, runners, {}, {}), cluster, runner)
