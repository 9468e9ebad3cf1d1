"""The provider's own look at what holds it: a cluster where only RBAC does is refused, whoever the runner says it is."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.cluster.attempts import made_marks
from tests.cluster.identity import NAMESPACE, Identity, account_identity
from tests.cluster.running import Cluster, until

from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.kubernetes.access import open_access
from lockgate.runner.sandbox.kubernetes.api import Api
from lockgate.runner.sandbox.kubernetes.bounds import check_inside
from lockgate.runner.sandbox.kubernetes.opening import Wanted, open_kubernetes
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.runner.sandbox.uids import UidRange

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def unheld(cluster: Cluster, runner: Identity, tmp_path: Path) -> Iterator[Identity]:
    """A runner's rights by RBAC, given to an account that no admission policy knows as a runner's."""
    name = f"test-{secrets.token_hex(4)}"
    with cluster.namespace() as namespace:
        account = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lockgate-runner"}
        metadata = {"name": name}
        kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
        cluster.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}},
            kind | {"metadata": metadata, "roleRef": role, "subjects": [account]},
        )
        try:
            yield account_identity(cluster, tmp_path, namespace, name)
        finally:
            cluster.kubectl("delete", "clusterrolebinding", name)


async def test_a_runner_whom_the_admission_policy_does_not_mean_does_not_start_and_is_told_whom_it_means(
    cluster: Cluster, unheld: Identity, job_image: Image
) -> None:
    words = ("auth", "can-i", "create", "namespaces", f"--kubeconfig={unheld.kubeconfig}")
    until(lambda: cluster.kubectl(*words, check=False).returncode == 0)
    settings = KubernetesSettings(channel_address=cluster.node_ip, kubeconfig=unheld.kubeconfig, image_pull="Never")
    wanted = Wanted("unheld", job_image.pinned, {}, UidRange())
    sandbox = open_kubernetes(settings, wanted, partial(made_marks, "unheld"))
    try:
        with pytest.raises(SandboxUnavailable, match="a namespace of any name: nothing but RBAC holds it") as refused:
            await sandbox.probe()
    finally:
        await sandbox.close()
    assert "lockgate:runners" in refused.value.fix
    listed = cluster.kubectl("get", "namespaces", "-o", "name").stdout
    assert "lockgate-probe-" not in listed


async def test_a_namespace_that_the_policy_of_runs_does_not_hold_is_found_out(
    cluster: Cluster, runner: Identity
) -> None:
    """One without the label stands for a cluster without the policy: the runner has every right there that it binds in its own."""
    with cluster.namespace() as namespace:
        words = ("create", "rolebinding", "runner", "--clusterrole=lockgate-run", "-n", namespace)
        cluster.kubectl(*words, f"--serviceaccount={NAMESPACE}:runner")
        can = ("auth", "can-i", "create", "secrets", "-n", namespace, f"--kubeconfig={runner.kubeconfig}")
        until(lambda: cluster.kubectl(*can, check=False).returncode == 0)
        api = Api(open_access(runner.kubeconfig))
        try:
            with pytest.raises(SandboxUnavailable, match="a secret with a token"):
                await check_inside(api, namespace)
        finally:
            await api.close()
