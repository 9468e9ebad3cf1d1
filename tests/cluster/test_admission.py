"""What the API server itself refuses: Pod Security, quotas, admission policies; and that its audit log tells who asked."""

from __future__ import annotations

import copy
import uuid
from typing import Any

import pytest
from tests.cluster.api import Refused
from tests.cluster.pods import restricted
from tests.cluster.running import Cluster, until

pytestmark = pytest.mark.kubernetes

# No container starts in these tests.
POD = restricted("one", "lockgate.test/none@sha256:" + "0" * 64, "")
ADMISSION = "/apis/admissionregistration.k8s.io/v1"


def tried(cluster: Cluster, path: str, item: dict[str, Any]) -> str:
    """What the API server says to making it, without making it: `made`, or why not."""
    try:
        cluster.api.ask("POST", f"{path}?dryRun=All", item)
    except Refused as refused:
        return refused.message
    return "made"


def changed(**pod_spec: Any) -> dict[str, Any]:
    pod = copy.deepcopy(POD)
    pod["spec"] |= pod_spec
    return pod


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        (POD, "made"),
        (changed(hostNetwork=True), "host namespaces"),
        (changed(volumes=[{"name": "host", "hostPath": {"path": "/"}}]), "hostPath"),
        (changed(securityContext={"runAsNonRoot": True, "runAsUser": 1000}), "seccompProfile"),
        (changed(securityContext={"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}), "runAsNonRoot"),
    ],
    ids=["ours", "host network", "host path", "no seccomp profile", "root"],
)
def test_a_restricted_namespace_takes_our_pod_and_no_lesser_one(
    cluster: Cluster, pod: dict[str, Any], told: str
) -> None:
    with cluster.namespace(**{"pod-security.kubernetes.io__enforce": "restricted"}) as namespace:
        assert told in tried(cluster, f"/api/v1/namespaces/{namespace}/pods", pod)


def test_a_quota_of_one_pod_is_kept(cluster: Cluster) -> None:
    with cluster.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}"
        quota = {"metadata": {"name": "one-pod"}, "spec": {"hard": {"pods": "1"}}}
        cluster.api.ask("POST", f"{path}/resourcequotas", quota)
        until(lambda: cluster.api.ask("GET", f"{path}/resourcequotas/one-pod").get("status", {}).get("hard"))
        cluster.api.ask("POST", f"{path}/pods", POD)
        second = copy.deepcopy(POD)
        second["metadata"]["name"] = "two"
        assert "exceeded quota: one-pod" in tried(cluster, f"{path}/pods", second)


def test_an_admission_policy_refuses_what_its_expression_does(cluster: Cluster) -> None:
    name = f"test-{uuid.uuid4().hex[:12]}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    policy = {
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [
                {
                    "expression": "object.metadata.name.startsWith('allowed-') || request.userInfo.username != 'admin'",
                    "message": "only allowed names",
                }
            ],
        },
    }
    with cluster.namespace(admission=name) as namespace:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        selects = {"namespaceSelector": {"matchLabels": {"admission": name}}}
        binding = {
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": selects},
        }
        cluster.api.ask("POST", f"{ADMISSION}/validatingadmissionpolicies", policy)
        cluster.api.ask("POST", f"{ADMISSION}/validatingadmissionpolicybindings", binding)
        try:
            refused = {"metadata": {"name": "other"}}
            until(lambda: "only allowed names" in tried(cluster, path, refused))
            assert tried(cluster, path, {"metadata": {"name": "allowed-one"}}) == "made"
        finally:
            cluster.api.ask("DELETE", f"{ADMISSION}/validatingadmissionpolicybindings/{name}")
            cluster.api.ask("DELETE", f"{ADMISSION}/validatingadmissionpolicies/{name}")


@pytest.mark.node
def test_the_audit_log_tells_who_asked_for_what_and_what_it_was_answered(cluster: Cluster) -> None:
    with cluster.namespace() as namespace:
        with pytest.raises(Refused):
            cluster.api.ask("GET", f"/api/v1/namespaces/{namespace}/configmaps/none")
        uri = f"/api/v1/namespaces/{namespace}/configmaps/none"
        events = until(lambda: cluster.audit_events(user="admin", requestURI=uri))
        found = [(each["verb"], each["objectRef"]["resource"], each["responseStatus"]["code"]) for each in events]
    assert found == [("get", "configmaps", 404)]
