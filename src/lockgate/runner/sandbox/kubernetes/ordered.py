"""Whether the pod that the API server holds is the pod that was ordered, field by field; what it does not know it refuses, and it asks nobody.

Between an order and what is kept stand admission plugins and webhooks: they may add containers, volumes and environment, drop a RuntimeClass or change an
identity, and the pod that comes to the channel is still of the right UID. So all of it is compared, and everything that may differ stands in this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from lockgate.contract.shown import flat
from lockgate.runner.sandbox.kubernetes.failures import image_digest
from lockgate.runner.sandbox.kubernetes.objects import CONTAINER
from lockgate.runner.sandbox.port import SandboxUnavailable

Pod = Mapping[str, Any]
MUTATED_FIX: Final = (
    'exempt namespaces labelled lockgate.dev/run: "true" from whatever changes pods: see '
    "`kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicybindings`"
)
NOTED_FIX: Final = "; of an annotation that only says what the cluster's network plugin did: name it in sandbox.kubernetes.network_annotations"
CHANGED_FIX: Final = "find out who changes pods of Lockgate's namespaces"
_MAX_NAME: Final = 80
_SUFFIXES: Final = {
    **{"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal(1000)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("MGTPE", 2)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
_QUANTITY: Final = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)([numkMGTPE]|[KMGTPE]i)?")
_QUANTITIES: Final = re.compile(
    r"spec\.containers\[0\]\.resources\.(limits|requests)\..+|spec\.volumes\[[0-9]+\]\.emptyDir\.sizeLimit"
)
"""Written anew by the API server: 1000m is 1, 64000000 is 64M."""
_WAITED_FOR: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_PRESSURE: Final = "node.kubernetes.io/memory-pressure"
_LABELS: Final = frozenset({"topology.kubernetes.io/zone", "topology.kubernetes.io/region"})
"""Where the pod's node is: PodTopologyLabels copies it when the pod is bound."""
_ANNOTATIONS: Final = frozenset(
    {
        "cni.projectcalico.org/containerID",
        "cni.projectcalico.org/podIP",
        "cni.projectcalico.org/podIPs",
        "k8s.v1.cni.cncf.io/network-status",
        "k8s.v1.cni.cncf.io/networks-status",
        "k8s.ovn.org/pod-networks",
    }
)
"""What network plugins write down of what they did. One that orders something (another network, a runtime's switch) is not among them."""


def check_order(order: Pod, held: Pod, noted: Collection[str] = ()) -> None:
    """Of a pod that was just made, ``held`` is what the API server keeps of ``order``. Raises SandboxUnavailable naming the first field that differs.

    ``noted``: keys of annotations that this cluster's network plugin writes beside those that are known here.
    """
    found = _metadata(order, held, noted) or difference(order, held)
    if found is not None:
        raise SandboxUnavailable(
            f"the cluster made another pod than was ordered: {found}; most likely a mutating webhook or policy changes pods",
            MUTATED_FIX + (NOTED_FIX if found.startswith("metadata.annotations") else ""),
        )


def check_running(order: Pod, held: Pod, noted: Collection[str] = ()) -> None:
    """As ``check_order``, of the pod as it is once it runs: one container, started once, nobody beside it. Raises SandboxUnavailable."""
    check_order(order, held, noted)
    found = _status(held)
    if found is not None:
        raise SandboxUnavailable(f"the pod does not run as it was ordered: {found}", CHANGED_FIX)


def check_same(let_in: Pod, held: Pod) -> None:
    """The pod that was let in is the one that the API server has under its name: its UID, its address, its image. Raises SandboxUnavailable."""
    for what, found, wanted in (
        ("UID", held["metadata"].get("uid"), let_in["metadata"]["uid"]),
        ("address", held.get("status", {}).get("podIP"), let_in["status"]["podIP"]),
        ("image", image_digest(held), image_digest(let_in)),
    ):
        if found != wanted:
            raise SandboxUnavailable(f"the pod that was let in had the {what} {wanted}, and has {found}", CHANGED_FIX)


def difference(order: Pod, held: Pod) -> str | None:
    """The first field of its specification in which ``held`` differs from ``order``, as a path and a word; None where it is that pod."""
    wanted, spec = order["spec"], held.get("spec")
    allowed = _defaults(wanted)
    return _compare(wanted, spec, "spec", allowed)


def _metadata(order: Pod, held: Pod, noted: Collection[str]) -> str | None:
    wanted, found = order["metadata"], held.get("metadata", {})
    if found.get("name") != wanted["name"]:
        return "metadata.name is another"
    for name in ("ownerReferences", "finalizers", "deletionTimestamp"):
        if found.get(name):
            return f"metadata.{name} was added"
    labels = {key: value for key, value in (found.get("labels") or {}).items() if key not in _LABELS}
    passed = _ANNOTATIONS.union(noted)
    annotations = {key: value for key, value in (found.get("annotations") or {}).items() if key not in passed}
    return _compare(wanted["labels"], labels, "metadata.labels", {}) or _compare(
        wanted["annotations"], annotations, "metadata.annotations", {}
    )


def _status(held: Pod) -> str | None:
    status = held.get("status", {})
    for name in ("initContainerStatuses", "ephemeralContainerStatuses"):
        if status.get(name):
            return f"status.{name} was added"
    containers = status.get("containerStatuses") or []
    if [one.get("name") for one in containers] != [CONTAINER]:
        return f"status.containerStatuses has {len(containers)} entries, where the one is called {CONTAINER}"
    if containers[0].get("restartCount") != 0 or containers[0].get("lastState"):
        return "status.containerStatuses[0].restartCount is not 0"
    return None


Allowed = Mapping[str, Callable[[Any], bool]]
"""By path (with [*] for any place of a list): what may be there though it was not ordered."""


def _defaults(spec: Mapping[str, Any]) -> Allowed:
    """What the API server and its own plugins fill in, and with what."""
    chosen = spec.get("runtimeClassName") is not None
    fills: dict[str, Callable[[Any], bool]] = {
        "spec.nodeName": lambda value: isinstance(value, str),
        "spec.schedulerName": lambda value: value == "default-scheduler",
        "spec.serviceAccount": lambda value: value == spec["serviceAccountName"],
        # When it runs, not what it does: a cluster may have a default class of priority.
        "spec.priority": lambda value: type(value) is int,
        "spec.priorityClassName": lambda value: isinstance(value, str),
        "spec.preemptionPolicy": lambda value: value in ("PreemptLowerPriority", "Never"),
        "spec.tolerations": lambda value: isinstance(value, list) and all(chosen or _well_known(one) for one in value),
        "spec.containers[*].terminationMessagePath": lambda value: value == "/dev/termination-log",
        "spec.containers[*].terminationMessagePolicy": lambda value: value == "File",
        "spec.containers[*].env[*].valueFrom.fieldRef.apiVersion": lambda value: value == "v1",
    }
    if chosen:  # a RuntimeClass brings what it costs and where it runs
        fills["spec.overhead"] = lambda value: isinstance(value, Mapping)
        fills["spec.nodeSelector"] = lambda value: isinstance(value, Mapping)
        fills["spec.nodeSelector.*"] = lambda value: isinstance(value, str)
    return fills


def _well_known(toleration: Any) -> bool:
    """How long a pod stays on a node that is in trouble (DefaultTolerationSeconds), and that it may start on one short of memory."""
    if not isinstance(toleration, Mapping) or toleration.get("operator") != "Exists" or "value" in toleration:
        return False
    key, effect = toleration.get("key"), toleration.get("effect")
    return (key in _WAITED_FOR and effect == "NoExecute") or (key == _PRESSURE and effect == "NoSchedule")


def _compare(wanted: Any, found: Any, path: str, allowed: Allowed) -> str | None:
    if isinstance(wanted, Mapping):
        return _compare_fields(wanted, found, path, allowed)
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return _compare_items(wanted, found, path, allowed)
    if type(wanted) is type(found) and wanted == found:
        return None
    if _QUANTITIES.fullmatch(path) and _amount(wanted) is not None and _amount(wanted) == _amount(found):
        return None
    # AlwaysPullImages makes every node ask for the image each time, by the same digest.
    if path == "spec.containers[0].imagePullPolicy" and found == "Always":
        return None
    return f"{path} is another"


def _compare_fields(wanted: Mapping[str, Any], found: Any, path: str, allowed: Allowed) -> str | None:
    if not isinstance(found, Mapping):
        return f"{path} is another"
    for name, value in wanted.items():
        if name not in found:
            if value in ("", [], {}):  # what is empty is not written down
                continue
            return f"{_at(path, name)} is missing"
        differs = _compare(value, found[name], _at(path, name), allowed)
        if differs is not None:
            return differs
    for name in sorted(found.keys() - wanted.keys()):
        pattern = re.sub(r"\[[0-9]+\]", "[*]", _at(path, name))
        may = allowed.get(pattern) or allowed.get(f"{path}.*")
        if may is None or not may(found[name]):
            return f"{_at(path, name)} was added{_called(found[name])}"
    return None


def _compare_items(wanted: Sequence[Any], found: Any, path: str, allowed: Allowed) -> str | None:
    if not isinstance(found, list):
        return f"{path} is another"
    if len(found) > len(wanted):
        names = {_name(one) for one in wanted}
        at = next((number for number, one in enumerate(found) if _name(one) not in names), len(wanted))
        return f"{path}[{at}] was added{_called(found[at])}"
    if len(found) < len(wanted):
        return f"{path} has {len(found)} of {len(wanted)} entries"
    for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
        differs = _compare(one, other, f"{path}[{number}]", allowed)
        if differs is not None:
            return differs
    return None


def _name(item: Any) -> str | None:
    return str(item["name"]) if isinstance(item, Mapping) and "name" in item else None


def _called(value: Any) -> str:
    """The names of what was added, and nothing else of it: its values may be somebody's secrets."""
    items = value if isinstance(value, list) else [value]
    names = [name for name in map(_name, items[:3]) if name is not None]
    return f" ({flat(', '.join(names), limit=_MAX_NAME)})" if names else ""


def _at(path: str, name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name) is not None
    return f"{path}.{name}" if plain else f'{path}["{flat(name, limit=_MAX_NAME)}"]'


def _amount(value: Any) -> Decimal | None:
    """A quantity as a number; None for anything else."""
    read = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if read is None:
        return None
    try:
        return Decimal(read[1]) * _SUFFIXES[read[2] or ""]
    except InvalidOperation:
        return None
