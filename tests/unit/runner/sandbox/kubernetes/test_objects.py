"""What is made in a cluster, as documents: closed by default, bounded everywhere, and nothing secret but the ticket."""

import base64
import json

import pytest

from lockgate.runner.sandbox.kubernetes import objects
from lockgate.runner.sandbox.kubernetes.objects import Hole, Mount, PodPlan
from lockgate.runner.sandbox.port import SandboxLimits

MIB = 1 << 20
LIMITS = SandboxLimits(memory_bytes=256 * MIB, disk_bytes=4 * MIB, wall_seconds=1.5, output_bytes=MIB)
IMAGE = "registry.test/job@sha256:" + "a" * 64
PLAN = PodPlan(
    sandbox_id="ab" * 16,
    number=3,
    image=IMAGE,
    pull="Never",
    command=("/lockgate/python", "-m", "pod"),
    environment={"B": "2", "A": "1"},
    from_pod={"UID": "metadata.uid"},
    ticket_file="/run/ticket/file",
    mounts=(Mount("/work", True, 4 * MIB), Mount("/work/source", False, 8 * MIB)),
    limits=LIMITS,
    uid=1_234_567_890,
    cpu_millis=500,
)


def test_a_pod_is_what_the_profile_restricted_asks_for_and_more():
    spec = objects.pod(PLAN)["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": PLAN.uid,
        "runAsGroup": PLAN.uid,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"], spec["restartPolicy"]) == (
        False,
        False,
        "Never",
    )
    assert spec["activeDeadlineSeconds"] == 2 + objects.DEADLINE_MARGIN_SECONDS
    assert (container["image"], container["imagePullPolicy"]) == (IMAGE, "Never")
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "runtimeClassName", "nodeSelector"} & set(
        spec
    )


def test_every_directory_of_a_pod_has_a_size_and_the_pod_room_for_them_all():
    spec = objects.pod(PLAN)["spec"]
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert volumes["place-0"]["emptyDir"] == {"sizeLimit": str(4 * MIB), "medium": "Memory"}
    assert volumes["place-1"]["emptyDir"] == {"sizeLimit": str(8 * MIB)}
    assert all("secret" in each or "emptyDir" in each for each in volumes.values())
    limits = spec["containers"][0]["resources"]["limits"]
    assert int(limits["memory"]) == 256 * MIB + objects.FIRST_PROCESS_BYTES + 12 * MIB
    assert int(limits["ephemeral-storage"]) >= 12 * MIB
    assert limits["cpu"] == "500m"


def test_only_the_ticket_is_secret_and_it_stands_in_no_other_object():
    ticket = bytes(range(32))
    secret = objects.ticket(3, ticket)
    assert base64.b64decode(secret["data"]["ticket"]) == ticket and secret["immutable"] is True
    others = [objects.pod(PLAN), objects.namespace("n", "r", "alice", {}), objects.holes(3, [Hole("10.0.0.1", 4000)])]
    assert secret["data"]["ticket"] not in json.dumps(others)
    mounted = [each for each in objects.pod(PLAN)["spec"]["volumes"] if "secret" in each]
    assert [each["secret"]["secretName"] for each in mounted] == ["stage-3"]


def test_policies_deny_everything_but_one_address_and_port_each():
    deny = objects.deny_all()["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    spec = objects.holes(3, [Hole("10.0.0.1", 4000), Hole("fd00::1", 4001)])["spec"]
    assert spec["podSelector"] == {"matchLabels": {objects.STAGE_LABEL: "3"}}
    assert [rule["to"][0]["ipBlock"]["cidr"] for rule in spec["egress"]] == ["10.0.0.1/32", "fd00::1/128"]
    assert [rule["ports"] for rule in spec["egress"]] == [
        [{"protocol": "TCP", "port": 4000}],
        [{"protocol": "TCP", "port": 4001}],
    ]


def test_a_stage_without_a_hole_has_none():
    assert "egress" not in objects.holes(3, [])["spec"]


def test_a_quota_has_room_for_stages_and_for_no_other_kind_of_thing():
    hard = objects.quota(LIMITS, 12 * MIB, 500)["spec"]["hard"]
    assert hard["count/pods"] == str(objects.PODS)
    assert {name for name, most in hard.items() if most == "0"} >= {
        "count/services",
        "count/jobs.batch",
        "count/deployments.apps",
        "count/persistentvolumeclaims",
    }
    pod = objects.pod(PLAN)["spec"]["containers"][0]["resources"]["limits"]
    assert int(hard["limits.memory"]) >= 2 * int(pod["memory"])


def test_a_namespace_is_held_to_the_strictest_profile():
    labels = objects.namespace("lockgate-run-x", "runner-1", "alice", {"a": "b"})["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert (labels[objects.RUN_LABEL], labels[objects.RUNNER_LABEL]) == ("true", "runner-1")


@pytest.mark.parametrize("user", ["system:serviceaccount:lockgate:runner", "alice"])
def test_the_runner_binds_itself_and_nobody_else(user: str):
    from lockgate.runner.sandbox.kubernetes.cluster import subject

    bound = objects.role_binding("lockgate-run", subject(user))
    assert bound["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lockgate-run"}
    (found,) = bound["subjects"]
    if user == "alice":
        assert (found["kind"], found["name"]) == ("User", "alice")
    else:
        assert found == {"kind": "ServiceAccount", "namespace": "lockgate", "name": "runner"}
