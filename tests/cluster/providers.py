"""A runner process' sandbox provider on the cluster, with the rights that a runner has there and no more."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

from tests.cluster.attempts import made_marks
from tests.cluster.identity import Identity
from tests.cluster.running import PATIENCE, Cluster

from lockgate.runner.sandbox.kubernetes.opening import Wanted, open_kubernetes
from lockgate.runner.sandbox.kubernetes.provider import KubernetesSandbox
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.uids import UidRange


def made(cluster: Cluster, who: Identity, image: str, name: str = "", **changes: Any) -> KubernetesSandbox:
    """Patient, as its machine may be busy with others too; `changes`: of its settings."""
    name = name or f"faults-{secrets.token_hex(4)}"
    given: dict[str, Any] = {"channel_address": cluster.node_ip, "kubeconfig": who.kubeconfig, "image_pull": "Never"}
    given |= {"start_seconds": int(PATIENCE), "teardown_seconds": int(PATIENCE)}
    wanted = Wanted(name, image, {"gvisor": "there-is-no-such-class"}, UidRange())
    return open_kubernetes(KubernetesSettings(**(given | changes)), wanted, partial(made_marks, name))
