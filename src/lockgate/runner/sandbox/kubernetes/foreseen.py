"""Whether a pod that was made for what a stage was foreseen to be will do for what it turned out to be; pure.

A pod's limits, class, way out and directories are fixed when it is made. What a stage is given (source, plan, credentials) is not: it is sent with the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lockgate.runner.sandbox.kubernetes.objects import Mount
from lockgate.runner.sandbox.port import SandboxSpec

STANDS_SECONDS: Final = 60.0
"""So long a pod may have stood by: the cluster's own deadline of it runs from its start, and has a margin of twice as much."""


def will_do(foreseen: SandboxSpec, spec: SandboxSpec) -> bool:
    """Whether all is as foreseen that neither an order nor a delivery can change."""
    return _fixed(foreseen) == _fixed(spec)


def holds(made: Sequence[Mount], needed: Sequence[Mount]) -> bool:
    """Whether each directory that is needed is there, of the same kind and with room enough."""
    there = {(mount.path, mount.memory): mount.size_bytes for mount in made}
    return all(there.get((mount.path, mount.memory), -1) >= mount.size_bytes for mount in needed)


def _fixed(spec: SandboxSpec) -> tuple[object, ...]:
    return spec.id, spec.stage, spec.limits, spec.egress, spec.enclosure, spec.sandbox_class
