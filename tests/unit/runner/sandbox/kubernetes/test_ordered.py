"""The pod that is held is the pod that was ordered: what an API server fills in passes, and every other difference is named by its place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.runner.sandbox.kubernetes.test_objects import PLAN

from lockgate.runner.sandbox.kubernetes import objects
from lockgate.runner.sandbox.kubernetes.ordered import check_order, check_running, check_same, difference
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.wire.settingsfile import SettingInvalid

Edit = Callable[[dict[str, Any]], Any]
PLACED = replace(PLAN, cpu_millis=1000, environment={"A": "1", "EMPTY": ""}, node_selector={"disk": "fast"})
ORDER = objects.pod(PLACED)


def waits(key: str, effect: str = "NoExecute") -> dict[str, Any]:
    return {"key": key, "operator": "Exists", "effect": effect, "tolerationSeconds": 300}


def held(order: dict[str, Any] = ORDER) -> dict[str, Any]:
    """As Kubernetes 1.36 keeps it (read from one), running."""
    pod = copy.deepcopy(order)
    pod["metadata"] |= {"namespace": "lockgate-run-x", "uid": "u1", "resourceVersion": "7", "generation": 1}
    pod["spec"] |= {
        "nodeName": "node-1",
        "schedulerName": "default-scheduler",
        "serviceAccount": objects.ACCOUNT,
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
        "tolerations": [waits("node.kubernetes.io/not-ready"), waits("node.kubernetes.io/unreachable")],
    }
    (container,) = pod["spec"]["containers"]
    container |= {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
    container["resources"]["limits"]["cpu"] = "1"
    for told in container["env"]:
        if "valueFrom" in told:
            told["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
        elif not told["value"]:
            del told["value"]
    status = {"name": "job", "restartCount": 0, "lastState": {}, "state": {"running": {}}}
    pod["status"] = {"phase": "Running", "containerStatuses": [status]}
    return pod


def test_what_an_api_server_fills_in_is_the_pod_that_was_ordered():
    check_running(ORDER, held())


def test_a_quantity_is_compared_as_a_number():
    found = held()
    volume = next(each for each in found["spec"]["volumes"] if each["name"] == "place-0")
    volume["emptyDir"]["sizeLimit"] = "4Mi"
    assert difference(ORDER, found) is None
    volume["emptyDir"]["sizeLimit"] = "4M"
    assert difference(ORDER, found) == "spec.volumes[1].emptyDir.sizeLimit is another"


def test_what_a_cluster_may_well_do_to_every_pod_passes():
    found = held()
    found["spec"] |= {"priorityClassName": "usual", "priority": 100, "preemptionPolicy": "Never"}
    found["spec"]["tolerations"].append(waits("node.kubernetes.io/memory-pressure", "NoSchedule"))
    found["spec"]["containers"][0]["imagePullPolicy"] = "Always"
    found["metadata"]["labels"]["topology.kubernetes.io/zone"] = "eu-1"
    found["metadata"]["annotations"]["cni.projectcalico.org/podIP"] = "10.0.0.1/32"
    check_running(ORDER, found)


NOTED = "netplugin.example/status"


def test_what_a_clusters_own_network_plugin_writes_passes_by_its_whole_name_where_the_runner_lists_it():
    found = held()
    found["metadata"]["annotations"][NOTED] = "10.0.0.1"
    with pytest.raises(SandboxUnavailable, match=NOTED) as refused:
        check_running(ORDER, found)
    assert "sandbox.kubernetes.network_annotations" in refused.value.fix
    check_running(ORDER, found, (NOTED,))
    found["metadata"]["annotations"][f"{NOTED}-2"] = "x"
    with pytest.raises(SandboxUnavailable, match=f"{NOTED}-2"):
        check_running(ORDER, found, (NOTED,))


@pytest.mark.parametrize(
    "listed",
    ["netplugin.example/*", "status", "", "lockgate.dev/sandbox", "k8s.v1.cni.cncf.io/networks", "io.kubernetes.io/x"],
)
def test_no_annotation_that_orders_something_nor_any_pattern_is_let_pass(listed: str):
    with pytest.raises(SettingInvalid, match="network_annotations"):
        KubernetesSettings(network_annotations=(listed,))


def test_the_list_of_annotations_is_bounded():
    with pytest.raises(SettingInvalid, match="20 names at most"):
        KubernetesSettings(network_annotations=tuple(f"a.example/{number}" for number in range(21)))


def test_what_a_runtime_class_brings_passes_where_one_was_ordered_and_nowhere_else():
    brought = {"overhead": {"podFixed": {"memory": "64Mi"}}, "nodeSelector": {"disk": "fast", "kvm": "yes"}}
    order = objects.pod(replace(PLACED, runtime_class="kata"))
    found = held(order)
    found["spec"] |= brought
    found["spec"]["tolerations"].append({"key": "kata", "operator": "Equal", "value": "only", "effect": "NoSchedule"})
    assert difference(order, found) is None
    for name, value in brought.items():
        other = held()
        other["spec"][name] = value
        assert str(difference(ORDER, other)).startswith(f"spec.{name}")


def container(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["spec"]["containers"][0]
    return found


CHANGES: dict[str, tuple[Edit, str]] = {
    "a sidecar": (
        lambda pod: pod["spec"]["containers"].append({"name": "istio-proxy", "image": "x"}),
        "spec.containers[1] was added (istio-proxy)",
    ),
    "a sidecar before the job": (
        lambda pod: pod["spec"]["containers"].insert(0, {"name": "istio-proxy", "image": "x"}),
        "spec.containers[0] was added (istio-proxy)",
    ),
    "an init container": (
        lambda pod: pod["spec"].update(initContainers=[{"name": "setup", "image": "x"}]),
        "spec.initContainers was added (setup)",
    ),
    "an ephemeral container": (
        lambda pod: pod["spec"].update(ephemeralContainers=[{"name": "debugger"}]),
        "spec.ephemeralContainers was added (debugger)",
    ),
    "a variable": (
        lambda pod: container(pod)["env"].insert(1, {"name": "LD_PRELOAD", "value": "s3cret"}),
        "spec.containers[0].env[1] was added (LD_PRELOAD)",
    ),
    "variables from elsewhere": (
        lambda pod: container(pod).update(envFrom=[{"secretRef": {"name": "s"}}]),
        "spec.containers[0].envFrom was added",
    ),
    "another value": (
        lambda pod: container(pod)["env"][0].update(value="x"),
        "spec.containers[0].env[0].value is another",
    ),
    "a volume": (
        lambda pod: pod["spec"]["volumes"].append({"name": "token", "projected": {}}),
        f"spec.volumes[{len(ORDER['spec']['volumes'])}] was added (token)",
    ),
    "a mount": (
        lambda pod: container(pod)["volumeMounts"].append({"name": "token", "mountPath": "/t"}),
        f"spec.containers[0].volumeMounts[{len(ORDER['spec']['containers'][0]['volumeMounts'])}] was added (token)",
    ),
    "a volume's source": (
        lambda pod: pod["spec"]["volumes"][0]["secret"].update(secretName="other"),
        "spec.volumes[0].secret.secretName is another",
    ),
    "another command": (
        lambda pod: container(pod).update(command=["/bin/sh"]),
        "spec.containers[0].command has 1 of 3 entries",
    ),
    "arguments": (lambda pod: container(pod).update(args=["x"]), "spec.containers[0].args was added"),
    "a hook": (
        lambda pod: container(pod).update(lifecycle={"postStart": {}}),
        "spec.containers[0].lifecycle was added",
    ),
    "another image": (lambda pod: container(pod).update(image="x@sha256:1"), "spec.containers[0].image is another"),
    "capabilities": (
        lambda pod: container(pod)["securityContext"]["capabilities"].update(add=["NET_BIND_SERVICE"]),
        "spec.containers[0].securityContext.capabilities.add was added",
    ),
    "no capabilities dropped": (
        lambda pod: container(pod)["securityContext"].pop("capabilities"),
        "spec.containers[0].securityContext.capabilities is missing",
    ),
    "a root that can be written to": (
        lambda pod: container(pod)["securityContext"].update(readOnlyRootFilesystem=False),
        "spec.containers[0].securityContext.readOnlyRootFilesystem is another",
    ),
    "a truth that is a number": (
        lambda pod: container(pod)["securityContext"].update(readOnlyRootFilesystem=1),
        "spec.containers[0].securityContext.readOnlyRootFilesystem is another",
    ),
    "another user": (
        lambda pod: pod["spec"]["securityContext"].update(runAsUser=1000),
        "spec.securityContext.runAsUser is another",
    ),
    "more groups": (
        lambda pod: pod["spec"]["securityContext"].update(supplementalGroups=[0]),
        "spec.securityContext.supplementalGroups was added",
    ),
    "another profile": (
        lambda pod: pod["spec"]["securityContext"]["seccompProfile"].update(type="Unconfined"),
        "spec.securityContext.seccompProfile.type is another",
    ),
    "the node's network": (lambda pod: pod["spec"].update(hostNetwork=True), "spec.hostNetwork was added"),
    "shared processes": (
        lambda pod: pod["spec"].update(shareProcessNamespace=True),
        "spec.shareProcessNamespace was added",
    ),
    "another account": (
        lambda pod: pod["spec"].update(serviceAccountName="admin"),
        "spec.serviceAccountName is another",
    ),
    "another account, by its old name": (
        lambda pod: pod["spec"].update(serviceAccount="admin"),
        "spec.serviceAccount was added",
    ),
    "the account's token": (
        lambda pod: pod["spec"].update(automountServiceAccountToken=True),
        "spec.automountServiceAccountToken is another",
    ),
    "names of other hosts": (
        lambda pod: pod["spec"].update(hostAliases=[{"ip": "1.2.3.4"}]),
        "spec.hostAliases was added",
    ),
    "a resolver": (lambda pod: pod["spec"]["dnsConfig"].update(searches=["evil"]), "spec.dnsConfig.searches was added"),
    "more memory": (
        lambda pod: container(pod)["resources"]["limits"].update(memory="8Gi"),
        "spec.containers[0].resources.limits.memory is another",
    ),
    "a later deadline": (
        lambda pod: pod["spec"].update(activeDeadlineSeconds=10**6),
        "spec.activeDeadlineSeconds is another",
    ),
    "no deadline": (lambda pod: pod["spec"].pop("activeDeadlineSeconds"), "spec.activeDeadlineSeconds is missing"),
    "a restart": (lambda pod: pod["spec"].update(restartPolicy="Always"), "spec.restartPolicy is another"),
    "a RuntimeClass": (lambda pod: pod["spec"].update(runtimeClassName="x"), "spec.runtimeClassName was added"),
    "another scheduler": (lambda pod: pod["spec"].update(schedulerName="mine"), "spec.schedulerName was added"),
    "a toleration": (
        lambda pod: pod["spec"]["tolerations"].append({"operator": "Exists"}),
        "spec.tolerations was added",
    ),
    "a field nobody knows yet": (lambda pod: pod["spec"].update(newIn2030=True), "spec.newIn2030 was added"),
    "another label": (
        lambda pod: pod["metadata"]["labels"].update({objects.STAGE_LABEL: "1"}),
        'metadata.labels["lockgate.dev/stage"] is another',
    ),
    "a label": (lambda pod: pod["metadata"]["labels"].update(app="x"), "metadata.labels.app was added"),
    "another network": (
        lambda pod: pod["metadata"]["annotations"].update({"k8s.v1.cni.cncf.io/networks": "open"}),
        'metadata.annotations["k8s.v1.cni.cncf.io/networks"] was added',
    ),
    "a switch of its runtime's": (
        lambda pod: pod["metadata"]["annotations"].update({"io.katacontainers.config.runtime.x": "y"}),
        'metadata.annotations["io.katacontainers.config.runtime.x"] was added',
    ),
    "an owner": (lambda pod: pod["metadata"].update(ownerReferences=[{}]), "metadata.ownerReferences was added"),
    "a finalizer": (lambda pod: pod["metadata"].update(finalizers=["x/y"]), "metadata.finalizers was added"),
    "its end": (lambda pod: pod["metadata"].update(deletionTimestamp="now"), "metadata.deletionTimestamp was added"),
    "no specification": (lambda pod: pod.pop("spec"), "spec is another"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_pod_is_refused_by_the_place_that_differs(what: str):
    edit, said = CHANGES[what]
    found = held()
    edit(found)
    with pytest.raises(SandboxUnavailable) as refused:
        check_order(ORDER, found)
    assert f"than was ordered: {said};" in str(refused.value)
    assert "mutatingwebhookconfigurations" in refused.value.fix
    assert "s3cret" not in str(refused.value), "what was added may be somebody's secret"


def test_a_runtime_class_that_was_dropped_is_missed():
    order = objects.pod(replace(PLACED, runtime_class="gvisor"))
    found = held(order)
    del found["spec"]["runtimeClassName"]
    assert difference(order, found) == "spec.runtimeClassName is missing"


RUNS: dict[str, Edit] = {
    "no container": lambda pod: pod["status"].pop("containerStatuses"),
    "another container": lambda pod: pod["status"]["containerStatuses"][0].update(name="other"),
    "two containers": lambda pod: pod["status"]["containerStatuses"].append({"name": "other"}),
    "two of one name": lambda pod: pod["status"]["containerStatuses"].append({"name": "job"}),
    "a second start": lambda pod: pod["status"]["containerStatuses"][0].update(restartCount=1),
    "an earlier state": lambda pod: pod["status"]["containerStatuses"][0].update(lastState={"terminated": {}}),
    "an init container": lambda pod: pod["status"].update(initContainerStatuses=[{"name": "x"}]),
    "an ephemeral container": lambda pod: pod["status"].update(ephemeralContainerStatuses=[{"name": "x"}]),
}


@pytest.mark.parametrize("what", RUNS)
def test_what_runs_beside_or_before_the_one_container_is_seen(what: str):
    found = held()
    RUNS[what](found)
    with pytest.raises(SandboxUnavailable, match=r"does not run as it was ordered: status\."):
        check_running(ORDER, found)


def let_in(**changes: Any) -> dict[str, Any]:
    status = {"name": "job", "imageID": f"registry.test/job@sha256:{changes.get('image', 'a') * 64}"}
    return {
        "metadata": {"uid": changes.get("uid", "u1")},
        "status": {"podIP": changes.get("address", "10.0.0.1"), "containerStatuses": [status]},
    }


def test_the_pod_of_that_name_is_still_the_one_that_was_let_in():
    check_same(let_in(), let_in())


@pytest.mark.parametrize("changes", [{"uid": "u2"}, {"address": "10.0.0.2"}, {"image": "b"}])
def test_another_pod_of_the_same_name_is_not_it(changes: dict[str, str]):
    with pytest.raises(SandboxUnavailable, match="was let in had the"):
        check_same(let_in(), let_in(**changes))
