"""What is made in a cluster, as documents: pure functions of a stage and its provider. Nothing in them is secret but the one ticket."""

from __future__ import annotations

import base64
import ipaddress
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lockgate.runner.sandbox.port import SandboxLimits

PREFIX: Final = "lockgate-run-"
RUN_LABEL: Final = "lockgate.dev/run"
RUNNER_LABEL: Final = "lockgate.dev/runner"
STAGE_LABEL: Final = "lockgate.dev/stage"
MADE_BY_ANNOTATION: Final = "lockgate.dev/made-by"
"""Who made a namespace, as the API server calls them: nobody else may act in it (deploy/kubernetes/admission.yaml)."""
SANDBOX_ANNOTATION: Final = "lockgate.dev/sandbox"
ACCOUNT: Final = "lockgate-job"
BINDING: Final = "lockgate-runner"
CONTAINER: Final = "job"
TICKET_VOLUME: Final = "ticket"
GRACE_SECONDS: Final = 1
"""How long a pod is asked before it is made to end; its first process ends everything within that."""
PODS: Final = 4
"""At most, per namespace: one that runs, one that ends, one that stands by, and one to spare for the quota's late count."""
FIRST_PROCESS_BYTES: Final = 48 << 20
"""Memory of a pod's first process, beside the job's."""
DEADLINE_MARGIN_SECONDS: Final = 120
"""The cluster's own deadline of a pod is the last of three: the runner's clock and the pod's first process come before it."""

_REQUESTS: Final = {"cpu": "50m", "memory": str(64 << 20), "ephemeral-storage": "0"}
"""Little is asked for, so that a pod that waits for its stage costs its node nothing."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mount:
    """An empty directory of a pod at ``path``, in memory or on the node's disk, of so many bytes at most."""

    path: str
    memory: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Hole:
    """One address and port that pods of a stage may connect to."""

    address: str
    port: int


@dataclass(frozen=True)
class PodPlan:
    """All that a pod is made from. ``uid`` is its user's and group's alike, and no other pod's.

    It has no ``fsGroup``: directories would then hand their group on by the set-group-ID bit, and no job may set that (ADR 39): not even ``chmod`` would work.
    """

    sandbox_id: str
    number: int
    image: str
    pull: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    from_pod: Mapping[str, str]
    ticket_file: str
    mounts: tuple[Mount, ...]
    limits: SandboxLimits
    uid: int
    cpu_millis: int
    runtime_class: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The pod's name, and its secret's and policy's."""
        return stage_name(self.number)


def stage_name(number: int) -> str:
    """What everything of an attempt's n-th stage is called."""
    return f"stage-{number}"


def namespace_name(enclosure: str) -> str:
    """The namespace of an enclosure."""
    return PREFIX + enclosure


def namespace(name: str, runner: str, user: str, annotations: Mapping[str, str]) -> Document:
    """Held to the strictest of Kubernetes' own profiles; whose it is stands in the labels, and how that is proven in the annotations.

    ``user`` is what the API server calls the runner. Admission takes no label and no annotation beside these.
    """
    labels = {
        RUN_LABEL: "true",
        RUNNER_LABEL: runner,
        **{f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")},
    }
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels, "annotations": {**annotations, MADE_BY_ANNOTATION: user}},
    }


def role_binding(role: str, subject: Mapping[str, str]) -> Document:
    """The runner gives itself, here alone, what the fixed role holds."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": BINDING},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [dict(subject)],
    }


def service_account() -> Document:
    """An identity that can do nothing and gets no token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": ACCOUNT},
        "automountServiceAccountToken": False,
    }


def quota(limits: SandboxLimits, mounts_bytes: int, cpu_millis: int) -> Document:
    """Room for the pods of one attempt, and for nothing else."""
    one = memory_bytes(limits, mounts_bytes)
    hard = {
        "count/pods": str(PODS),
        "limits.cpu": f"{PODS * cpu_millis}m",
        "limits.memory": str(PODS * one),
        "limits.ephemeral-storage": str(PODS * disk_bytes(limits, mounts_bytes)),
        "count/secrets": str(4 * PODS),
        **{f"count/{kind}": "0" for kind in ("services", "persistentvolumeclaims", "replicationcontrollers")},
        **{f"count/{kind}.apps": "0" for kind in ("deployments", "statefulsets", "replicasets")},
        **{f"count/{kind}.batch": "0" for kind in ("jobs", "cronjobs")},
    }
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "attempt"}, "spec": {"hard": hard}}


def limit_range(limits: SandboxLimits, mounts_bytes: int, cpu_millis: int) -> Document:
    """No container of the namespace gets more than a stage may have, nor runs without a limit."""
    most = _resources(limits, mounts_bytes, cpu_millis)
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "stage"},
        "spec": {"limits": [{"type": "Container", "max": most, "default": most, "defaultRequest": _REQUESTS}]},
    }


def deny_all() -> Document:
    """Nothing reaches a pod of the namespace, and no pod reaches anything."""
    return _policy("deny-all", {}, ["Ingress", "Egress"], [])


def holes(number: int, allowed: Sequence[Hole]) -> Document:
    """What the pod of one stage may connect to all the same: addresses and ports, no range of either."""
    rules = [
        {
            "to": [{"ipBlock": {"cidr": f"{hole.address}/{ipaddress.ip_address(hole.address).max_prefixlen}"}}],
            "ports": [{"protocol": "TCP", "port": hole.port}],
        }
        for hole in allowed
    ]
    return _policy(stage_name(number), {"matchLabels": {STAGE_LABEL: str(number)}}, ["Egress"], rules)


def _policy(name: str, selector: Document, kinds: list[str], egress: list[Document]) -> Document:
    spec: Document = {"podSelector": selector, "policyTypes": kinds}
    if egress:
        spec["egress"] = egress
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def ticket(number: int, content: bytes) -> Document:
    """The only secret of the namespace; it opens one connection once."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": stage_name(number)},
        "type": "Opaque",
        "immutable": True,
        "data": {"ticket": base64.b64encode(content).decode()},
    }


def memory_bytes(limits: SandboxLimits, mounts_bytes: int) -> int:
    """A pod's memory: the job's, its first process', and what lies in memory for it."""
    return limits.memory_bytes + FIRST_PROCESS_BYTES + mounts_bytes


def disk_bytes(limits: SandboxLimits, mounts_bytes: int) -> int:
    """A pod's share of the node's disk: directories there, and the kept end of its output."""
    return mounts_bytes + limits.output_bytes + (16 << 20)


def _resources(limits: SandboxLimits, mounts_bytes: int, cpu_millis: int) -> dict[str, str]:
    return {
        "cpu": f"{cpu_millis}m",
        "memory": str(memory_bytes(limits, mounts_bytes)),
        "ephemeral-storage": str(disk_bytes(limits, mounts_bytes)),
    }


def pod(plan: PodPlan) -> Document:
    """One bare pod: no controller makes it anew when it has ended."""
    most = _resources(plan.limits, sum(mount.size_bytes for mount in plan.mounts), plan.cpu_millis)
    spec: Document = {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "activeDeadlineSeconds": math.ceil(plan.limits.wall_seconds) + DEADLINE_MARGIN_SECONDS,
        "hostname": "sandbox",
        # No name is ever asked for in a sandbox: what it looks up, its proxy looks up.
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["127.0.0.1"]},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": plan.uid,
            "runAsGroup": plan.uid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(plan, most)],
        "volumes": [_ticket_volume(plan), *(_volume(number, mount) for number, mount in enumerate(plan.mounts))],
    }
    if plan.runtime_class is not None:
        spec["runtimeClassName"] = plan.runtime_class
    if plan.node_selector:
        spec["nodeSelector"] = dict(plan.node_selector)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": plan.name,
            "labels": {STAGE_LABEL: str(plan.number)},
            "annotations": {SANDBOX_ANNOTATION: plan.sandbox_id},
        },
        "spec": spec,
    }


def _container(plan: PodPlan, most: Mapping[str, str]) -> Document:
    told: list[Document] = [{"name": name, "value": value} for name, value in sorted(plan.environment.items())]
    told += [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in sorted(plan.from_pod.items())
    ]
    directory = plan.ticket_file.rpartition("/")[0]
    return {
        "name": CONTAINER,
        "image": plan.image,
        "imagePullPolicy": plan.pull,
        "command": list(plan.command),
        "env": told,
        "resources": {"limits": dict(most), "requests": dict(_REQUESTS)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": TICKET_VOLUME, "mountPath": directory, "readOnly": True},
            *({"name": f"place-{number}", "mountPath": mount.path} for number, mount in enumerate(plan.mounts)),
        ],
    }


def _ticket_volume(plan: PodPlan) -> Document:
    item = {"key": "ticket", "path": plan.ticket_file.rpartition("/")[2]}
    return {
        "name": TICKET_VOLUME,
        "secret": {"secretName": plan.name, "items": [item], "defaultMode": 0o444},
    }


def _volume(number: int, mount: Mount) -> Document:
    held: Document = {"sizeLimit": str(mount.size_bytes)}
    if mount.memory:
        held["medium"] = "Memory"
    volume: Document = {"name": f"place-{number}", "emptyDir": held}
    return volume
