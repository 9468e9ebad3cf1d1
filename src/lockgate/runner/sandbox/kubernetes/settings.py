"""How this runner reaches its cluster, and how its pods reach it, documented where declared; it must not read any file."""

# ruff: noqa: RUF009  `setting` makes a dataclasses.field, not a value

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lockgate.wire.settingsfile import SettingInvalid, setting

_PORTS = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?")
_ACCOUNT = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_ANNOTATION = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
MAX_ANNOTATIONS = 20
ORDERS = ("k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network")
"""Annotations that have a network plugin do something."""
OURS_AND_KUBERNETES = ("lockgate.dev", "kubernetes.io", "k8s.io")
_ROLE = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """The provider `kubernetes`."""

    channel_address: str = setting(
        "The IP address at which pods reach this runner, routed without translation of addresses; empty, in a runner that is a pod itself: what its environment has as `POD_IP`.",
        "",
    )
    channel_ports: str = setting(
        "The ports that may be listened on there, as `first-last`, three for each stage at once; empty: any that is free.",
        "",
    )
    channel_bind: str = setting("The address to listen on, where that is another one than pods are told.", "")
    kubeconfig: Path | None = setting(
        "How to reach the API server; without it the runner is itself a pod and uses its service account.", None
    )
    image_pull: Literal["Never", "IfNotPresent"] = setting(
        "Whether a node may fetch the image; `Never`: it must be there already.", "IfNotPresent"
    )
    role: str = setting("The fixed ClusterRole that the runner binds for itself in its namespaces.", "lockgate-run")
    look_account: str = setting(
        "The service account, as `namespace/name`, whose short-lived tokens kubelets are shown when they are asked what they run.",
        "lockgate/look",
    )
    node_selector: dict[str, str] = setting("Labels of the nodes that sandboxes may run on.", factory=dict)
    network_annotations: tuple[str, ...] = setting(
        "Annotations, by their whole names, in which this cluster's network plugin writes down what it did to a pod, beside those that are known; any other on a pod is refused.",
        (),
    )
    cpu_millis: int = setting("CPU of one sandbox, in thousandths of a core.", 1000)
    start_seconds: int = setting("How long a pod may take from its order to its first word.", 60)
    teardown_seconds: int = setting(
        "How long the end of a pod or a namespace is waited for before it counts as not proven.", 60
    )

    def __post_init__(self) -> None:
        for name in ("channel_address", "channel_bind"):
            text = getattr(self, name)
            if text:
                try:
                    ipaddress.ip_address(text)
                except ValueError:
                    raise SettingInvalid(name, "must be an IP address") from None
        if self.channel_ports:
            self._check_ports()
        if not _ROLE.fullmatch(self.role):
            raise SettingInvalid("role", "must be the name of a ClusterRole")
        if not _ACCOUNT.fullmatch(self.look_account):
            raise SettingInvalid("look_account", "must be namespace/name of a service account")
        for key, value in self.node_selector.items():
            if not _LABEL.fullmatch(key) or (value and not _LABEL.fullmatch(value)):
                raise SettingInvalid(f"node_selector.{key[:80]}", "must be a label of nodes and its value")
        self._check_annotations()
        for name, most in (("cpu_millis", 1_000_000), ("start_seconds", 600), ("teardown_seconds", 600)):
            if not 1 <= getattr(self, name) <= most:
                raise SettingInvalid(name, f"must be 1 to {most}")

    def _check_ports(self) -> None:
        found = _PORTS.fullmatch(self.channel_ports)
        if found is None or not 1024 <= int(found[1]) <= int(found[2]) <= 65_535:
            raise SettingInvalid("channel_ports", "must be first-last, from 1024 to 65535")
        if int(found[2]) - int(found[1]) < 2:
            raise SettingInvalid("channel_ports", "must be three ports at least: a stage needs as many")

    def _check_annotations(self) -> None:
        if len(self.network_annotations) > MAX_ANNOTATIONS:
            raise SettingInvalid("network_annotations", f"must be {MAX_ANNOTATIONS} names at most")
        for key in self.network_annotations:
            if not _ANNOTATION.fullmatch(key):
                raise SettingInvalid("network_annotations", f"{key[:80]!r} must be prefix/name, whole: no pattern")
            if key in ORDERS or key.partition("/")[0].endswith(OURS_AND_KUBERNETES):
                raise SettingInvalid(
                    "network_annotations",
                    f"{key[:80]!r} orders something of a cluster, or is none of a network plugin's: it cannot be let pass",
                )

    @property
    def ports(self) -> range | None:
        """`channel_ports` as a range."""
        found = _PORTS.fullmatch(self.channel_ports)
        return range(int(found[1]), int(found[2]) + 1) if found is not None else None
