"""What a cluster says when something goes wrong, as the port says it: a cause, a reason, one thing to do."""

from typing import Any

import pytest
from tests.unit.runner.sandbox.kubernetes.conftest import status_of

from lockgate.runner.sandbox.kubernetes.api import ApiRefused, ApiUnavailable
from lockgate.runner.sandbox.kubernetes.failures import image_digest, never_starts, not_made, pod_end, still_waits_for
from lockgate.runner.sandbox.port import SandboxUnavailable, SpecRefused


def refused(status: int, reason: str, message: str, *causes: str) -> ApiRefused:
    return ApiRefused(status, status_of(reason, message, details={"causes": [{"reason": one} for one in causes]}))


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (
            refused(403, "Forbidden", 'pods "stage-1" is forbidden: exceeded quota: attempt, requested: count/pods=1'),
            "quota",
        ),
        (refused(403, "Forbidden", 'violates PodSecurity "restricted:latest"'), "restricted"),
        (refused(403, "Forbidden", 'admission webhook "policy.acme.test" denied the request: no owner'), "webhook"),
        (refused(500, "InternalError", 'failed calling webhook "x": connection refused'), "webhook"),
        (refused(403, "Forbidden", 'pod rejected: RuntimeClass "gvisor" not found'), "RuntimeClass"),
        (refused(403, "Forbidden", "it is being terminated", "NamespaceTerminating"), "who deletes"),
        (refused(404, "NotFound", 'namespaces "lockgate-run-0" not found'), "who deletes"),
        (refused(403, "Forbidden", 'User "x" cannot create resource "pods"'), "rbac.yaml"),
        (refused(401, "Unauthorized", "Unauthorized"), "credentials"),
        (ApiUnavailable("POST /api: ConnectError"), "can be reached"),
    ],
)
def test_what_cannot_be_made_has_a_reason_and_a_fix(error: ApiRefused | ApiUnavailable, fix: str):
    made = not_made("the pod", error)
    assert isinstance(made, SandboxUnavailable)
    assert fix in made.fix
    assert str(made).startswith("the pod: ")


def test_what_no_cluster_can_take_is_the_specifications_fault():
    assert isinstance(not_made("the pod", refused(422, "Invalid", "spec.activeDeadlineSeconds")), SpecRefused)


def test_foreign_words_stay_in_their_line_and_have_an_end():
    made = not_made("the pod", refused(403, "Forbidden", "a\x1b[31m\nb" + "x" * 5000))
    assert "\n" not in str(made) and "\x1b" not in str(made) and len(str(made)) < 1000


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "u"}, "status": status}


def container(**state: Any) -> list[dict[str, Any]]:
    return [{"state": state}]


@pytest.mark.parametrize("reason", ["ErrImageNeverPull", "ImagePullBackOff", "CreateContainerConfigError"])
def test_a_container_that_cannot_start_is_not_waited_for(reason: str):
    waiting = pod(phase="Pending", containerStatuses=container(waiting={"reason": reason, "message": "no such image"}))
    found = never_starts(waiting)
    assert found is not None and reason in found.reason and found.fix


def test_a_pod_that_its_node_refused_never_starts():
    found = never_starts(pod(phase="Failed", reason="OutOfpods", message="Node didn't have enough resource"))
    assert found is not None and "OutOfpods" in found.reason


def test_a_container_that_is_being_made_may_start():
    assert (
        never_starts(pod(phase="Pending", containerStatuses=container(waiting={"reason": "ContainerCreating"}))) is None
    )


def test_a_pod_that_no_node_takes_says_why_in_the_schedulers_words():
    waiting = pod(
        conditions=[
            {
                "type": "PodScheduled",
                "status": "False",
                "message": "had untolerated taint {node.kubernetes.io/memory-pressure: }",
            }
        ]
    )
    assert "memory-pressure" in still_waits_for(waiting).reason


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ({"phase": "Succeeded", "containerStatuses": container(terminated={"exitCode": 0})}, "exit"),
        ({"phase": "Failed", "containerStatuses": container(terminated={"exitCode": 139})}, "signal"),
        (
            {"phase": "Failed", "containerStatuses": container(terminated={"exitCode": 137, "reason": "OOMKilled"})},
            "oom",
        ),
        ({"phase": "Failed", "reason": "DeadlineExceeded"}, "wall"),
        ({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}, "lost"),
        ({"phase": "Failed", "reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds"}, "disk"),
        ({"phase": "Failed", "reason": "Evicted", "message": 'Usage of EmptyDir volume "x" exceeds the limit'}, "disk"),
        ({"phase": "Failed", "reason": "NodeShutdown", "message": "m"}, "lost"),
        ({"phase": "Failed", "reason": "SomethingNew", "message": "m"}, "lost"),
    ],
)
def test_a_pods_end_has_a_cause_of_the_port(status: dict[str, Any], cause: str):
    end = pod_end(pod(**status))
    assert end is not None and end.cause == cause


def test_a_pod_that_is_gone_was_deleted_by_somebody_and_one_that_runs_has_not_ended():
    gone = pod_end(None)
    assert gone is not None and (gone.cause, gone.exit_code) == ("lost", None)
    assert pod_end(pod(phase="Running", containerStatuses=container(running={}))) is None


def test_an_end_that_its_node_may_still_explain_is_none_before_it_has():
    """An evicted pod's container is seen to end first, and why with the pod's last phase."""
    seen = pod(phase="Running", containerStatuses=container(terminated={"exitCode": 143}))
    assert pod_end(seen) is None
    why = {"reason": "Evicted", "message": 'Usage of EmptyDir volume "x" exceeds the limit'}
    end = pod_end(pod(phase="Failed", containerStatuses=container(terminated={"exitCode": 143}), **why))
    assert end is not None and end.cause == "disk"
    for terminated, cause in (({"exitCode": 0}, "exit"), ({"exitCode": 137, "reason": "OOMKilled"}, "oom")):
        end = pod_end(pod(phase="Running", containerStatuses=container(terminated=terminated)))
        assert end is not None and end.cause == cause, "nothing is added to these"


def test_who_disrupted_a_pod_that_is_gone_is_told_from_what_was_last_seen_of_it():
    told = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "a drain"}
    gone = pod_end(None, pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}, told]))
    assert gone is not None and gone.reason == "the pod was deleted by somebody else: EvictionByEvictionAPI: a drain"


def test_a_pod_that_ended_because_it_was_deleted_has_not_ended_by_itself():
    ended = pod(phase="Failed", containerStatuses=container(terminated={"exitCode": 1}))
    ended["metadata"]["deletionTimestamp"] = "2026-11-27T00:00:00Z"
    end = pod_end(ended)
    assert end is not None and (end.cause, end.exit_code) == ("lost", 1)


def test_the_image_that_ran_is_the_nodes_word_and_a_tag_is_none():
    digest = "sha256:" + "b" * 64
    assert image_digest(pod(containerStatuses=[{"name": "job", "imageID": f"registry.test/job@{digest}"}])) == digest
    assert image_digest(pod(containerStatuses=[{"name": "job", "imageID": "registry.test/job:latest"}])) is None
    assert image_digest(pod()) is None
