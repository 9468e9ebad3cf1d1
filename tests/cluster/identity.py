"""A runner's own identity in a cluster, with exactly the rights that deploy/kubernetes gives; nothing of it is the tests' own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml
from tests.cluster.api import Access, Api
from tests.cluster.running import Cluster, until

MANIFESTS = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
NAMESPACE, ACCOUNT = "lockgate", "runner"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class Identity:
    """`kubeconfig` names a token's file beside it, as a runner outside of the cluster has it."""

    kubeconfig: Path
    access: Access

    @property
    def api(self) -> Api:
        """The tests' client as this identity."""
        return Api(self.access)


def runner_identity(cluster: Cluster, place: Path) -> Identity:
    """Apply the manifests as an administrator does, and take a token of the runner's account."""
    cluster.kubectl("apply", "-f", str(MANIFESTS))
    until(lambda: _in_force(cluster), lambda: "the admission policies are not in force")
    token = cluster.kubectl("create", "token", ACCOUNT, "-n", NAMESPACE, f"--duration={TOKEN_SECONDS}s").stdout.strip()
    (place / "token").write_text(token)
    (place / "token").chmod(0o600)
    admin = yaml.safe_load(cluster.kubeconfig.read_text())
    authority = admin["clusters"][0]["cluster"]
    written = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "runner",
        "clusters": [{"name": "here", "cluster": authority}],
        "users": [{"name": "runner", "user": {"tokenFile": "token"}}],
        "contexts": [{"name": "runner", "context": {"cluster": "here", "user": "runner"}}],
    }
    kubeconfig = place / "kubeconfig"
    kubeconfig.write_text(json.dumps(written))
    mine = Access.read(cluster.kubeconfig)
    return Identity(kubeconfig, Access(mine.server, mine.authority, b"", b"", token))


def _in_force(cluster: Cluster) -> bool:
    """Whether the API server evaluates the policies already: it takes a moment after they were made."""
    said = cluster.kubectl(
        *("create", "namespace", "lockgate-run-not-a-runners", "--dry-run=server"),
        *(f"--as={USER}", f"--as-group=system:serviceaccounts:{NAMESPACE}"),
        check=False,
    ).stderr
    return "a runner touches namespaces of attempts only" in said
