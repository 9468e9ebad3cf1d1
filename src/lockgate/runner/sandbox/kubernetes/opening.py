"""Puts the Kubernetes provider together from settings; it must not read a key: marks come as something that is asked later."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from lockgate.runner.sandbox.kubernetes.access import open_access
from lockgate.runner.sandbox.kubernetes.api import Api
from lockgate.runner.sandbox.kubernetes.cluster import Cluster, PodMemory
from lockgate.runner.sandbox.kubernetes.gone import Account, KubeletNodes
from lockgate.runner.sandbox.kubernetes.marks import RegionMarks
from lockgate.runner.sandbox.kubernetes.memory import Forgetful
from lockgate.runner.sandbox.kubernetes.provider import KubernetesSandbox
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.network.hosts import ChannelHosts
from lockgate.runner.sandbox.network.listen import Listen
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.runner.sandbox.uids import UidRange

POD_ADDRESS: Final = "POD_IP"


@dataclass(frozen=True)
class Wanted:
    """What the runner's settings say of its sandboxes. ``uids``: of the processes that guard a channel, where the runner is root."""

    runner: str
    image: str
    runtime_classes: Mapping[str, str]
    uids: UidRange


def open_kubernetes(
    settings: KubernetesSettings,
    wanted: Wanted,
    marks: Callable[[str], RegionMarks],
    environment: Mapping[str, str] = os.environ,
    memory: PodMemory | None = None,
) -> KubernetesSandbox:
    """The provider; nothing is asked of the cluster yet. Without a ``memory`` of where pods were, every node is asked after a restart. Raises SandboxUnavailable."""
    settings = replace(settings, channel_address=_address(settings, environment))
    access = open_access(settings.kubeconfig, environment)
    api = Api(access)
    cluster = Cluster(
        api=api,
        settings=settings,
        runner=wanted.runner,
        image=wanted.image,
        runtime_classes=wanted.runtime_classes,
        marks=marks,
        nodes=KubeletNodes(api, Account(*settings.look_account.split("/")), settings.teardown_seconds),
        random=os.urandom,
        memory=memory if memory is not None else Forgetful(),
    )
    listen = Listen(settings.channel_address, settings.ports, settings.channel_bind)
    return KubernetesSandbox(cluster, ChannelHosts(listen, wanted.uids))


def _address(settings: KubernetesSettings, environment: Mapping[str, str]) -> str:
    address = settings.channel_address or environment.get(POD_ADDRESS, "")
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise SandboxUnavailable(
            f"nothing says at which address pods reach this runner: {POD_ADDRESS} is {address[:60]!r}",
            f"set sandbox.kubernetes.channel_address, or {POD_ADDRESS} by the downward API (status.podIP)",
        ) from None
