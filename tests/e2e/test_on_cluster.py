"""A change of the driver `opentofu` from an agent's call to the last namespace's end, every sandbox a pod: one namespace plans it, a human approves, another one applies it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from tests.cluster.identity import runner_identity
from tests.cluster.node import Node
from tests.cluster.running import Cluster, until
from tests.e2e.on_cluster import ENDS, TOO_LATE, Given, Governed, Seen, bootstrapped, seeing
from tests.e2e.opentofu import HOSTS, lock_text, remove

from lockgate.runner.image.archive import Image

pytestmark = [pytest.mark.kubernetes, pytest.mark.tofu, pytest.mark.slow]

CATALOG = """
apiVersion: lockgate/v1
kind: Action
metadata: {name: set_pool_size}
spec:
  title: Set the pool's size
  description: Sets how many machines the pool has.
  effect: change
  risk: low
  idempotent: true
  targets: {names: [pool-production]}
  driver: opentofu
  entry: .
  arguments:
    type: object
    required: [size]
    properties:
      size: {type: integer, minimum: 0, maximum: 20}
  variables: {size: size}
---
apiVersion: lockgate/v1
kind: Target
metadata: {name: pool-production}
spec:
  driver: opentofu
  source: pool
  environment: production
  region: local
  limits: {wall_seconds: 300}
  settings: {engine: opentofu, state: runner}
"""
MODULE = """
terraform {
  required_providers {
    time = { source = "hashicorp/time" }
  }
}
variable "size" { type = number }
resource "terraform_data" "pool" { input = var.size }
resource "time_static" "since" {
  triggers = { size = var.size }
}
"""


@dataclass(frozen=True)
class Story:
    """A running deployment, what was seen of its namespaces, and the module's source."""

    governed: Governed
    seen: Seen
    image: Image

    @property
    def source(self) -> Path:
        return self.governed.deployment.home / "sources" / "pool" / "main.tf"


def given(program: Path, mirror: Path) -> Given:
    """The pool, whose state this runner keeps; tool and provider are sent to each pod that needs them."""
    sources = {"pool": {"main.tf": MODULE, ".terraform.lock.hcl": lock_text(mirror, HOSTS["opentofu"], "time")}}
    served = {
        "drivers": ["opentofu"],
        "sources": ["pool"],
        "keeps_state": True,
        "credential_scopes": ["read", "write"],
        "limits": {"wall_seconds": 600},
    }
    runner = {
        "targets": {"pool-production": served},
        "tools": {"opentofu": {"path": str(program), "any": True, "version": "under-test"}},
        "providers": {"mirror": str(mirror), "any": True},
    }
    return Given(CATALOG, sources, runner)


@pytest.fixture(scope="module")
def story(
    cluster: Cluster,
    job_image: Image,
    tofu: Path,
    provider_mirror: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    place = tmp_path_factory.mktemp("runner")
    home = Path(tempfile.mkdtemp(prefix="lockgate-e2e-"))
    home.chmod(0o711)
    who = runner_identity(cluster, place)
    made = bootstrapped(home, cluster, who, job_image.pinned, given(tofu, provider_mirror))
    with seeing(cluster, made.runner, place) as seen:
        try:
            made.deployment.start("gateway")
            made.deployment.start("runner")
            # A runner tries its cluster when it starts: one namespace, gone before it is ready.
            until(lambda: len(seen.made()) == len(seen.gone()) == 1, made.deployment.logs)
            yield Story(made, seen, job_image)
        finally:
            made.deployment.stop()
            remove(home)


async def asked_and_held(story: Story, agent: Client, size: int) -> dict[str, Any]:
    """The agent's operation, once its plan is held for a human."""
    asked = await story.governed.asks(agent, "set_pool_size", "pool-production", size=size)
    held = await story.governed.comes_to(agent, asked, "pending_approval", *ENDS)
    assert held["status"] == "pending_approval", held["message"]
    assert (held["plan"]["summary"]["create"], held["plan"]["fidelity"]) == (2, "exact")
    return held


async def test_a_change_is_planned_in_one_namespace_applied_in_another_and_both_are_gone(story: Story) -> None:
    governed, seen = story.governed, story.seen
    probed = set(seen.made())
    async with governed.agent() as agent:
        held = await asked_and_held(story, agent, size=3)
        operation = held["operation_id"]
        # The plan's namespace is gone while the human thinks, and nothing of an apply is there.
        (planned,) = governed.namespaces(governed.receipts(operation, 1))
        until(lambda: planned in seen.gone(), governed.deployment.logs)
        assert set(seen.made()) - probed == {planned}
        governed.votes(held, "approve")
        ended = await governed.comes_to(agent, held, *ENDS)
        while TOO_LATE in ended["message"]:
            held = await asked_and_held(story, agent, size=3)
            operation, planned = (
                held["operation_id"],
                governed.namespaces(governed.receipts(held["operation_id"], 1))[0],
            )
            governed.votes(held, "approve")
            ended = await governed.comes_to(agent, held, *ENDS)
        assert (ended["status"], ended["effect"]) == ("succeeded", "full"), ended["message"]
        assert ended["plan"]["digests"] == held["plan"]["digests"]
        receipts = governed.receipts(operation, 2)
        # The state came back from the pod that wrote it: what is asked for again is there already.
        again = await governed.comes_to(
            agent, await governed.asks(agent, "set_pool_size", "pool-production", size=3), *ENDS
        )
        assert (again["status"], again["effect"]) == ("succeeded", "none"), again["message"]
    places = governed.namespaces(receipts)
    assert [[box["stage"] for box in receipt["sandboxes"]] for receipt in receipts] == [
        ["plan", "derive"],
        ["check", "derive", "apply", "verify", "derive"],
    ]
    assert {box["image"] for receipt in receipts for box in receipt["sandboxes"]} == {story.image.digest}
    assert places[0] == planned and len(set(places)) == 2
    until(lambda: set(places) <= seen.gone(), governed.deployment.logs)
    for place in places:
        as_the_cluster_saw_it(story, place)
    report = governed.says("audit", "verify")
    assert report["ok"] and report["proven"], report
    (kept,) = governed.says("state", "list")["states"]
    assert (kept["target"], kept["trouble"]) == ("pool-production", None), kept


def as_the_cluster_saw_it(story: Story, place: str) -> None:
    """A namespace with a runner's mark and the strictest profile, its pods of the pinned image and each with a user of its own, and no process of them left."""
    cluster, made = story.governed.cluster, story.seen.made()[place]
    assert re.fullmatch("lockgate-run-[0-9a-f]{32}", place)
    assert story.governed.carries_its_mark(made)
    assert made["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = story.seen.pods_of(place)
    assert len(pods) >= 2, pods.keys()
    for pod in pods.values():
        (container,) = pod["spec"]["containers"]
        assert container["image"] == story.image.pinned
        assert (pod["spec"]["serviceAccountName"], pod["spec"]["automountServiceAccountToken"]) == (
            "lockgate-job",
            False,
        )
    assert len({pod["spec"]["securityContext"]["runAsUser"] for pod in pods.values()}) == len(pods)
    if cluster.place is not None:
        node = Node(cluster.place, cluster.kubernetes)
        assert [node.pod_processes(pod["metadata"]["uid"]) for pod in pods.values()] == [set()] * len(pods)
    assert "NotFound" in cluster.kubectl("get", "namespace", place, check=False).stderr


async def test_what_nobody_may_or_a_human_will_not_have_gets_no_namespace_to_apply_in(story: Story) -> None:
    governed, seen = story.governed, story.seen
    before = set(seen.made())
    async with governed.agent(roles=("nobody",)) as stranger:
        denied = await governed.asks(stranger, "set_pool_size", "pool-production", size=9)
        assert denied["status"] == "denied", denied
    async with governed.agent() as agent:
        asked = await governed.asks(agent, "set_pool_size", "pool-production", size=9)
        held = await governed.comes_to(agent, asked, "pending_approval", *ENDS)
        governed.votes(held, "reject")
        ended = await governed.comes_to(agent, held, *ENDS)
    assert ended["status"] == "denied", ended
    assert [attempt["phase"] for attempt in governed.details(held["operation_id"])["attempts"]] == ["plan"]
    planned = governed.namespaces(governed.receipts(held["operation_id"], 1))
    until(lambda: set(planned) <= seen.gone(), governed.deployment.logs)
    assert set(seen.made()) - before == set(planned)


async def test_a_source_that_changed_after_the_approval_is_planned_anew_and_applied_nowhere(story: Story) -> None:
    governed, seen = story.governed, story.seen
    before = set(seen.made())
    async with governed.agent() as agent:
        asked = await governed.asks(agent, "set_pool_size", "pool-production", size=5)
        held = await governed.comes_to(agent, asked, "pending_approval", *ENDS)
        story.source.write_text(MODULE + "# changed after a human had seen the plan\n")
        governed.votes(held, "approve")
        again = await governed.comes_to_another_plan(agent, held)
        assert again["status"] == "pending_approval", again["message"]
        governed.votes(again, "reject")
        ended = await governed.comes_to(agent, again, *ENDS)
    assert ended["status"] == "denied", ended
    receipts = governed.receipts(held["operation_id"], 3)
    first, refused, second = governed.namespaces(receipts)
    assert [[box["stage"] for box in receipt["sandboxes"]] for receipt in receipts] == [
        ["plan", "derive"],
        [],
        ["plan", "derive"],
    ]
    until(lambda: {first, second} <= seen.gone(), governed.deployment.logs)
    assert set(seen.made()) - before == {first, second}
    assert refused not in seen.made()
