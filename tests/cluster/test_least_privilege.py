"""What the API server heard of a runner, held against what deploy/kubernetes gives it: nothing is lacking, and nothing is given that is not used."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from tests.cluster.attempts import attempts, begun, ended
from tests.cluster.identity import MANIFESTS, NAMESPACE, USER, Identity
from tests.cluster.providers import made
from tests.cluster.running import Cluster, until

from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes.orphans import ApiNamespaces

pytestmark = [pytest.mark.kubernetes, pytest.mark.node]

RUNS = "lockgate-run-"
PROVEN = {"namespace": True, "processes": True}
NOT_IN_THE_LOG = {
    # The authorizer is asked for it inside of a create of rolebindings, and by that name alone: tests/cluster/test_rights.py.
    ("", "bind", "rbac.authorization.k8s.io", "clusterroles"),
    # Kubelets are asked, not the API server; that it is needed is tested below.
    ("", "get", "", "nodes/pods"),
}
EVERYBODYS = {("create", "authentication.k8s.io", "selfsubjectreviews")}


@dataclass(frozen=True)
class Right:
    """One verb on one resource: in every namespace (""), or in those whose name begins so."""

    place: str
    verb: str
    group: str
    resource: str

    def covers(self, used: Used) -> bool:
        return (self.verb, self.group, self.resource) == (used.verb, used.group, used.resource) and (
            used.namespace.startswith(self.place)
        )


@dataclass(frozen=True)
class Used:
    """One request as the audit log has it."""

    verb: str
    group: str
    resource: str
    namespace: str

    @classmethod
    def of(cls, event: dict[str, Any]) -> Used:
        asked = event["objectRef"]
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        return cls(event["verb"], asked.get("apiGroup", ""), resource, asked.get("namespace", ""))


def granted() -> set[Right]:
    """Every right that the manifests give a runner, and where."""
    places = {"lockgate-run": RUNS}
    found = set()
    for path in sorted(MANIFESTS.glob("*.yaml")):
        for item in yaml.safe_load_all(path.read_text()):
            if item["kind"] not in ("Role", "ClusterRole"):
                continue
            place = NAMESPACE if item["kind"] == "Role" else places.get(item["metadata"]["name"], "")
            for rule in item["rules"]:
                found |= {
                    Right(place, verb, group, resource)
                    for verb in rule["verbs"]
                    for group in rule["apiGroups"]
                    for resource in rule["resources"]
                }
    return found


async def test_whole_attempts_use_every_right_they_have_and_no_other(
    cluster: Cluster, runner: Identity, job_image: Image
) -> None:
    began = datetime.datetime.now(datetime.UTC)
    # The provider's own probe: a pod that comes, is looked at, is given its order, ends, and is looked for.
    sandbox = made(cluster, runner, job_image.pinned, "runner-1")
    probed = await sandbox.probe()
    assert not any("does not prove" in note for note in probed.notes)
    assert all(proof.torn_down for proof in await sandbox.reap(()))
    await sandbox.close()
    async with attempts(cluster, runner, job_image.pinned) as living:
        # One that lives: two stages, one after the other; and its end.
        where = living.enclosure()
        for _ in range(2):
            pod = await begun(where, job_image.pinned, "pass")
            await ended(where, pod)
            assert await where.end(pod) == {"pod": True, "processes": True}
        assert await where.release() == PROVEN
        # One whose runner dies in the middle; the next process finds what it left, and looks for what it does not remember.
        left = living.enclosure()
        await begun(left, job_image.pinned)
        await left.watch.close()
    async with attempts(cluster, runner, job_image.pinned) as after:
        listed, _ = await ApiNamespaces(after.cluster.api).run_namespaces()
        assert left.name in [item["metadata"]["name"] for item in listed]
        assert await after.enclosure(left.enclosure).release() == PROVEN
        assert await after.enclosure(left.enclosure).release() == PROVEN, "and again, by one that knows no node"

    # A watch is in the log once the server has seen that nobody listens to it any more.
    until(lambda: not_in_the_log(heard_since(cluster, began)) <= NOT_IN_THE_LOG)
    heard = heard_since(cluster, began)
    used = {Used.of(event) for event in heard}
    refused = {Used.of(event) for event in heard if event["responseStatus"]["code"] == 403}
    done = {Used.of(event) for event in heard if event["responseStatus"]["code"] < 400}
    rights = granted()
    asked_of_ours = {item for item in used if (item.verb, item.group, item.resource) not in EVERYBODYS}
    assert {item for item in asked_of_ours if not any(right.covers(item) for right in rights)} == set(), "lacking"
    assert refused <= done, "a right that was bound a moment ago may be refused once, and is then given"
    assert not_in_the_log(heard) == NOT_IN_THE_LOG, "given, and not used"


def heard_since(cluster: Cluster, began: datetime.datetime) -> list[dict[str, Any]]:
    """What the API server was asked by runners, and answered."""
    return [
        event
        for event in cluster.audit_events(user=USER)
        if datetime.datetime.fromisoformat(event["requestReceivedTimestamp"]) >= began and "objectRef" in event
    ]


def not_in_the_log(heard: list[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    """Every right of a runner that none of these requests needs."""
    used = {Used.of(event) for event in heard}
    unused = {right for right in granted() if not any(right.covers(item) for item in used)}
    return {(right.place, right.verb, right.group, right.resource) for right in unused}


async def test_without_the_right_to_ask_kubelets_nothing_is_proven_gone(
    cluster: Cluster, runner: Identity, job_image: Image
) -> None:
    cluster.kubectl("delete", "clusterrolebinding", "lockgate-look")
    try:
        async with attempts(cluster, runner, job_image.pinned, seconds=20) as ours:
            where = ours.enclosure()
            await ended(where, await begun(where, job_image.pinned, "pass"))
            assert await where.release() == {"namespace": True, "processes": False}
    finally:
        cluster.kubectl("apply", "-f", str(MANIFESTS))
