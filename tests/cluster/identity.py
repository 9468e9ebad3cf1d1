"""A runner's own identity in a cluster, with exactly the rights that deploy/kubernetes gives; nothing of it is the tests' own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.api import Access, Api, Refused
from tests.cluster.running import Cluster, until

MANIFESTS = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
NAMESPACE, ACCOUNT = "lockgate", "runner"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
TOKEN_SECONDS = 3600
SYSTEM = (
    "--as=system:serviceaccount:kube-system:somebody",
    "--as-group=system:serviceaccounts:kube-system",
    "--as-group=system:masters",
)
"""Words for kubectl: an account of the cluster's own, as what tests change in namespaces of attempts must come from; administrators change nothing there."""


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
    found = account_identity(cluster, place, NAMESPACE, ACCOUNT)
    until(lambda: _in_force(cluster), lambda: "the admission policies are not in force")
    with run_of(found) as name:
        until(lambda: _closed(found.api, name), lambda: "the policy lockgate-runs is not in force")
    return found


def account_identity(cluster: Cluster, place: Path, namespace: str, account: str) -> Identity:
    """A token of a service account that is there, and a kubeconfig below `place` that names it."""
    token = cluster.kubectl("create", "token", account, "-n", namespace, f"--duration={TOKEN_SECONDS}s").stdout.strip()
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


@contextmanager
def unheld(cluster: Cluster, place: str) -> Iterator[None]:
    """As in a cluster without the policy on what is in namespaces of attempts, `place` one of them: what else guards a run must do so alone."""

    def may() -> bool:
        words = ("create", "configmap", "x", "-n", place, "--dry-run=server")
        return cluster.kubectl(*words, check=False).returncode == 0

    cluster.kubectl("delete", "validatingadmissionpolicybinding", "lockgate-runs")
    try:
        until(may)
        yield
    finally:
        cluster.kubectl("apply", "-f", str(MANIFESTS))
        until(lambda: not may())


def _in_force(cluster: Cluster) -> bool:
    """Whether the API server evaluates the policies already: it takes a moment after they were made."""
    words = ("create", "namespace", "lockgate-run-not-a-runners", "--dry-run=server")
    by_runner = cluster.kubectl(*words, f"--as={USER}", f"--as-group=system:serviceaccounts:{NAMESPACE}", check=False)
    by_others = cluster.kubectl(*words, check=False)
    return (
        "a runner touches namespaces of attempts only" in by_runner.stderr
        and "made by runners and changed by nobody" in by_others.stderr
    )


def run_namespace(name: str, user: str = USER) -> dict[str, Any]:
    """A namespace of an attempt as `user` may make it, with a mark that is none."""
    labels = {"lockgate.dev/run": "true", "pod-security.kubernetes.io/enforce": "restricted"}
    marks = {"lockgate.dev/mark": "a mark", "lockgate.dev/made-by": user}
    return {"metadata": {"name": name, "labels": labels, "annotations": marks}}


def run_name() -> str:
    """A name of an attempt's namespace, for a test of its own."""
    return f"lockgate-run-{os.urandom(16).hex()}"


@contextmanager
def run_of(runner: Identity) -> Iterator[str]:
    """A namespace of an attempt, made and entered by the runner itself, and removed by it; nothing waits for its end."""
    name, api = run_name(), runner.api
    api.ask("POST", "/api/v1/namespaces", run_namespace(name))
    try:
        binding = {
            "metadata": {"name": "lockgate-runner"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lockgate-run"},
            "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": ACCOUNT}],
        }
        api.ask("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/rolebindings", binding)
        yield name
    finally:
        api.ask("DELETE", f"/api/v1/namespaces/{name}")


def may(who: Identity, method: str, path: str, body: Any) -> bool:
    """Whether it is done; a right that was given a moment ago, or a namespace's account, may not be known yet."""
    try:
        who.api.ask(method, path, body)
    except Refused as refused:
        assert refused.status == 403, refused
        return False
    return True


def _closed(api: Api, namespace: str) -> bool:
    """Whether the policy on what is in namespaces of attempts is evaluated: it refuses their own maker a secret that is no ticket."""
    secret = {"metadata": {"name": "x"}, "type": "example.com/none"}
    try:
        api.ask("POST", f"/api/v1/namespaces/{namespace}/secrets?dryRun=All", secret)
    except Refused as refused:
        return "a secret of an attempt is its ticket" in refused.message
    return False
