"""Which pod a stage gets, by its specification and the cluster's settings; it makes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from lockgate.contract import podchannel
from lockgate.runner.sandbox.kubernetes.cluster import Cluster
from lockgate.runner.sandbox.kubernetes.objects import Hole, Mount, PodPlan
from lockgate.runner.sandbox.network.host import ChannelHost, Surroundings
from lockgate.runner.sandbox.network.volumes import volumes
from lockgate.runner.sandbox.port import SandboxSpec
from lockgate.runner.sandbox.profile import SCRATCH
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot

PROBE: Final = "probe"
"""The stage of a probe's own pod."""
_INSIDE: Final = JobRoot(Path(INSIDE), "", {})
"""The job root as the image holds it."""
_UIDS: Final = range(200_000_000, 2_000_000_000)
"""Users of pods, one each: far from those of hosts and of other clusters' ranges."""


def pod_plan(
    cluster: Cluster, spec: SandboxSpec, told: Mapping[str, str], number: int, mounts: tuple[Mount, ...]
) -> PodPlan:
    """All that the pod of an enclosure's stage of this number is made from. ``told``: what its environment has of its channel."""
    settings = cluster.settings
    return PodPlan(
        sandbox_id=spec.id,
        number=number,
        image=cluster.image,
        pull=settings.image_pull,
        command=_INSIDE.argv("lockgate.job.pod.__main__:main"),
        environment=_INSIDE.environment() | dict(told),
        from_pod={podchannel.POD_VARIABLE: "metadata.uid", podchannel.NODE_VARIABLE: "status.hostIPs"},
        ticket_file=podchannel.TICKET_FILE,
        mounts=mounts,
        limits=spec.limits,
        uid=_UIDS[int.from_bytes(cluster.random(8), "big") % len(_UIDS)],
        cpu_millis=settings.cpu_millis,
        runtime_class=cluster.runtime_classes.get(spec.sandbox_class),
        node_selector=settings.node_selector,
    )


def holes_of(cluster: Cluster, host: ChannelHost) -> list[Hole]:
    """What the pod may connect to."""
    address = cluster.settings.channel_address
    return [Hole(address, port) for port in (host.port, host.egress_port) if port is not None]


def surroundings(spec: SandboxSpec, api_server: tuple[str, ...]) -> Surroundings:
    """What the pod looks at. Whether a network holds at all the probe finds out, and takes its time for it."""
    return Surroundings(api_server, whole=spec.stage == PROBE)


def mounts_of(spec: SandboxSpec) -> tuple[Mount, ...]:
    """The pod's directories. Scratch space lies in memory: only there a size is held at once, not by an eviction some seconds later."""
    found = [Mount(each.path, each.memory, each.size_bytes) for each in volumes(spec)]
    return tuple(replace(mount, memory=True) if mount.path in SCRATCH else mount for mount in found)
