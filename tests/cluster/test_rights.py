"""What a runner's account may not do in a cluster: each act is tried with its own token, and the API server refuses it; and who else may not touch what is the runners'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.api import Refused
from tests.cluster.identity import NAMESPACE, USER, Identity, run_name
from tests.cluster.running import Cluster, until

pytestmark = pytest.mark.kubernetes

LABELS = {"lockgate.dev/run": "true", "pod-security.kubernetes.io/enforce": "restricted"}
MARKED = {"lockgate.dev/mark": "a mark", "lockgate.dev/made-by": USER}
NAMESPACES, BINDINGS = "/api/v1/namespaces", "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"
DRY = "?dryRun=All"


def namespace(name: str, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None) -> Any:
    marks = MARKED if annotations is None else annotations
    return {"metadata": {"name": name, "labels": LABELS if labels is None else labels, "annotations": marks}}


def binding(role: str = "lockgate-run", kind: str = "ClusterRole", *subjects: Any) -> Any:
    mine = {"kind": "ServiceAccount", "namespace": NAMESPACE, "name": "runner"}
    return {
        "metadata": {"name": "x"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": list(subjects) or [mine],
    }


@pytest.fixture(scope="module")
def own(cluster: Cluster, runner: Identity) -> Iterator[str]:
    """A namespace of an attempt, made and entered by the runner itself."""
    name = run_name()
    runner.api.ask("POST", NAMESPACES, namespace(name))
    runner.api.ask("POST", BINDINGS.format(name), binding())
    yield name
    runner.api.ask("DELETE", f"{NAMESPACES}/{name}")


@pytest.fixture(scope="module")
def strangers(cluster: Cluster) -> Iterator[str]:
    """Somebody else's namespace."""
    with cluster.namespace() as name:
        yield name


def refusal(identity: Identity, method: str, path: str, body: Any = None) -> str:
    try:
        identity.api.ask(method, path, body)
    except Refused as refused:
        assert refused.status == 403, refused
        return refused.message
    pytest.fail(f"{method} {path} was done")


NAMES = "a runner touches namespaces of attempts only"
PLAIN = {"metadata": {"name": "x"}}
ELSEWHERE: dict[str, tuple[str, Any, str]] = {
    "a namespace of another name": (NAMESPACES, namespace("shop", {}), NAMES),
    "a name that only begins like ours": (NAMESPACES, namespace("lockgate-run-shop"), NAMES),
    "a name like ours with more behind it": (NAMESPACES, namespace(run_name() + "0"), NAMES),
    "a namespace without the label": (NAMESPACES, namespace(run_name(), {}), "labelled"),
    "a namespace without a mark": (NAMESPACES, namespace(run_name(), None, {}), "mark"),
    "a namespace of a weaker profile": (
        NAMESPACES,
        namespace(run_name(), {**LABELS, "pod-security.kubernetes.io/enforce": "baseline"}),
        "restricted",
    ),
    "a namespace that does not say who made it": (
        NAMESPACES,
        namespace(run_name(), None, {"lockgate.dev/mark": "a mark"}),
        "names the runner",
    ),
    "a namespace that says another made it": (
        NAMESPACES,
        namespace(run_name(), None, MARKED | {"lockgate.dev/made-by": f"system:serviceaccount:{NAMESPACE}:other"}),
        "names the runner",
    ),
    "a namespace with a label that others go by": (
        NAMESPACES,
        namespace(run_name(), {**LABELS, "admission.example.com/ignore": "true"}),
        "no other label",
    ),
    "a namespace held to an older version of its profile": (
        NAMESPACES,
        namespace(run_name(), {**LABELS, "pod-security.kubernetes.io/enforce-version": "v1.0"}),
        "no other label",
    ),
    "a namespace with an annotation that others go by": (
        NAMESPACES,
        namespace(run_name(), None, MARKED | {"scheduler.example.com/node-selector": "any"}),
        "no other annotation",
    ),
    "a namespace without a profile": (NAMESPACES, namespace(run_name(), {"lockgate.dev/run": "true"}), "restricted"),
    "a binding in somebody else's namespace": (BINDINGS.format("{strangers}"), binding(), NAMES),
    "a binding in kube-system": (BINDINGS.format("kube-system"), binding(), NAMES),
    "a binding in the runners' own namespace": (BINDINGS.format(NAMESPACE), binding(), NAMES),
    "a greater role": (BINDINGS.format("{own}"), binding("cluster-admin"), "grant RBAC permissions"),
    "a role that it does not hold": (BINDINGS.format("{own}"), binding("view"), "grant RBAC permissions"),
    "its own cluster-wide role": (BINDINGS.format("{own}"), binding("lockgate-runner"), "lockgate-run only"),
    "the role for another account": (
        BINDINGS.format("{own}"),
        binding("lockgate-run", "ClusterRole", {"kind": "ServiceAccount", "namespace": NAMESPACE, "name": "look"}),
        "nobody but itself",
    ),
    "the role for an account of its name elsewhere": (
        BINDINGS.format("{own}"),
        binding("lockgate-run", "ClusterRole", {"kind": "ServiceAccount", "namespace": "default", "name": "runner"}),
        "nobody but itself",
    ),
    "the role for a group": (
        BINDINGS.format("{own}"),
        binding(
            "lockgate-run",
            "ClusterRole",
            {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated"},
        ),
        "nobody but itself",
    ),
    "the role for itself and another": (
        BINDINGS.format("{own}"),
        binding(
            "lockgate-run",
            "ClusterRole",
            {"kind": "ServiceAccount", "namespace": NAMESPACE, "name": "runner"},
            {"kind": "ServiceAccount", "namespace": "default", "name": "default"},
        ),
        "nobody but itself",
    ),
    "a role of the whole cluster": (
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        binding(),
        "cannot create resource",
    ),
    "a new role": ("/apis/rbac.authorization.k8s.io/v1/clusterroles", PLAIN, "cannot create resource"),
    "a role in its namespace": (
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{own}/roles",
        PLAIN,
        "cannot create resource",
    ),
    "a pod in somebody else's namespace": (
        "/api/v1/namespaces/{strangers}/pods",
        PLAIN,
        "cannot create resource",
    ),
    "a secret in somebody else's namespace": (
        "/api/v1/namespaces/{strangers}/secrets",
        PLAIN,
        "cannot create resource",
    ),
    "a pod among the runners": (f"/api/v1/namespaces/{NAMESPACE}/pods", PLAIN, "cannot create resource"),
    "a command in a pod": (
        "/api/v1/namespaces/{own}/pods/x/exec",
        None,
        "cannot create resource",
    ),
    "a token of another account": (
        "/api/v1/namespaces/{own}/serviceaccounts/default/token",
        {"metadata": {"name": "default"}, "spec": {}},
        "cannot create resource",
    ),
    "a token of its own account": (
        f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/runner/token",
        {"metadata": {"name": "runner"}, "spec": {}},
        "cannot create resource",
    ),
    "another policy": (
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        PLAIN,
        "cannot create resource",
    ),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_a_runner_cannot_make(runner: Identity, own: str, strangers: str, what: str) -> None:
    path, body, why = ELSEWHERE[what]
    assert why in refusal(runner, "POST", path.format(own=own, strangers=strangers) + DRY, body)


READS = [
    "/api/v1/secrets",
    "/api/v1/namespaces/kube-system/secrets",
    "/api/v1/namespaces/{strangers}/secrets",
    "/api/v1/namespaces/{own}/secrets",
    "/api/v1/namespaces/{own}/secrets/stage-1",
    f"/api/v1/namespaces/{NAMESPACE}/secrets",
    "/api/v1/configmaps",
    "/api/v1/pods",
    "/api/v1/namespaces/{strangers}/pods",
    "/api/v1/namespaces/{own}/pods/x/log",
    "/api/v1/namespaces/{own}/configmaps",
    "/api/v1/nodes/{node}/proxy/runningpods/",
    "/api/v1/nodes/{node}/proxy/configz",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
]


@pytest.mark.parametrize("path", READS)
def test_a_runner_cannot_read(runner: Identity, own: str, strangers: str, path: str) -> None:
    asked = path.format(own=own, strangers=strangers, node="lockgate-0")
    assert "cannot" in refusal(runner, "GET", asked)


def test_a_runner_changes_no_namespace_not_even_its_own(runner: Identity, own: str) -> None:
    found = runner.api.ask("GET", f"{NAMESPACES}/{own}")
    found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "privileged"
    assert "cannot update" in refusal(runner, "PUT", f"{NAMESPACES}/{own}{DRY}", found)
    assert "cannot update" in refusal(runner, "PUT", f"{NAMESPACES}/{own}/finalize{DRY}", found)


def test_a_runner_removes_no_namespace_but_those_of_attempts(runner: Identity, strangers: str) -> None:
    for name in (strangers, NAMESPACE):
        assert NAMES in refusal(runner, "DELETE", f"{NAMESPACES}/{name}{DRY}")


def test_a_runner_is_nobody_else(cluster: Cluster, runner: Identity) -> None:
    said = cluster.kubectl(
        *("--kubeconfig", str(runner.kubeconfig)), *("get", "namespaces", "--as=system:admin"), check=False
    ).stderr
    assert "cannot impersonate" in said


@pytest.fixture(scope="module")
def developer(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Somebody who may make and change any namespace, and is no administrator of the cluster itself; as words for kubectl."""
    cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "test-namespaces"},
            "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["*"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "test-namespaces"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "test-namespaces"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "dora"}],
        },
    )
    words = ("--as=dora", "--as-group=developers")
    tries = ("create", "namespace", "shop", "--dry-run=server")
    until(lambda: cluster.kubectl(*tries, *words, check=False).returncode == 0)  # what was bound a moment ago
    yield words
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", "test-namespaces")


def test_nobody_else_makes_changes_or_removes_a_namespace_of_an_attempt(
    cluster: Cluster, own: str, developer: tuple[str, str]
) -> None:
    def said(*words: str) -> str:
        done = cluster.kubectl(*words, "--dry-run=server", *developer, check=False)
        return done.stdout + done.stderr

    ours = "made by runners and changed by nobody"
    assert ours in said("create", "namespace", run_name())
    assert ours in said("label", "namespace", own, "pod-security.kubernetes.io/enforce=privileged", "--overwrite")
    assert ours in said("annotate", "namespace", own, "lockgate.dev/mark=another", "--overwrite")
    assert ours in said("annotate", "namespace", own, "lockgate.dev/made-by=dora", "--overwrite")
    assert "removed by runners" in said("delete", "namespace", own)
    assert "created" in said("create", "namespace", "shop")


@pytest.mark.parametrize("way", ["", "/status", "/finalize"])
def test_not_even_an_administrator_changes_one_whichever_way_it_is_written(
    cluster: Cluster, own: str, way: str
) -> None:
    """Each of the three ways to write a namespace can write its labels."""
    admin = Identity(cluster.kubeconfig, cluster.access)
    found = cluster.api.ask("GET", f"{NAMESPACES}/{own}")
    found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "privileged"
    assert "changed by nobody" in refusal(admin, "PUT", f"{NAMESPACES}/{own}{way}{DRY}", found)
    found = cluster.api.ask("GET", f"{NAMESPACES}/{own}")
    assert "freed by an administrator" in refusal(admin, "PUT", f"{NAMESPACES}/{own}{way}{DRY}", found)
    assert "made by runners" in refusal(admin, "POST", NAMESPACES + DRY, namespace(run_name()))
    cluster.api.ask("DELETE", f"{NAMESPACES}/{own}{DRY}")


def test_the_label_of_attempts_is_on_no_other_namespace(
    cluster: Cluster, strangers: str, developer: tuple[str, str]
) -> None:
    """Whoever could set it would have anybody locked out of a namespace of theirs."""
    for who in ((), developer):
        said = cluster.kubectl(
            *("label", "namespace", strangers, "lockgate.dev/run=true", "--dry-run=server"), *who, check=False
        ).stderr
        assert "for namespaces of attempts alone" in said
    other = {"metadata": {"name": "shop", "labels": {"lockgate.dev/run": "true"}}}
    admin = Identity(cluster.kubeconfig, cluster.access)
    assert "for namespaces of attempts alone" in refusal(admin, "POST", NAMESPACES + DRY, other)


def test_a_runner_by_certificate_is_one_by_its_group(cluster: Cluster) -> None:
    """RBAC alone would let a user of another group make any namespace; of this group it is held as an account of `lockgate` is."""
    words = (
        "create",
        "namespace",
        "shop",
        "--dry-run=server",
        "--as=runner-by-certificate",
        "--as-group=lockgate:runners",
    )
    assert NAMES in cluster.kubectl(*words, "--as-group=system:masters", check=False).stderr
