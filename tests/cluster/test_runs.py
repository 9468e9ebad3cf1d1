"""Who may act in a namespace of an attempt: the runner that made it. Everybody else is refused by the API server, whatever RBAC gives them, and may at most end it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.api import Refused
from tests.cluster.identity import (
    NAMESPACE,
    SYSTEM,
    Identity,
    account_identity,
    may,
    run_of,
)
from tests.cluster.pods import DENY_ALL, restricted
from tests.cluster.running import Cluster, until

pytestmark = pytest.mark.kubernetes

RBAC = "/apis/rbac.authorization.k8s.io/v1"
DRY = "dryRun=All"
ACTS = "the runner that made it acts, and nobody else"
ENTERS = "nobody enters a pod of an attempt"
NAMES = {"metadata": {"name": "x"}}
POLICY = {"metadata": {"name": "open"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}}
POD = restricted("pod", "lockgate.test/none@sha256:" + "0" * 64, "")
POD["spec"]["nodeSelector"] = {"lockgate.test/nowhere": "true"}
"""No node takes it, so nothing of it starts."""
MERGE = "application/merge-patch+json"
BINDING = {
    "metadata": {"name": "theirs"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lockgate-run"},
}


def binding(*subjects: Any, name: str = "lockgate-runner") -> dict[str, Any]:
    return BINDING | {"metadata": {"name": name}, "subjects": list(subjects)}


def account(namespace: str, name: str) -> dict[str, str]:
    return {"kind": "ServiceAccount", "namespace": namespace, "name": name}


@pytest.fixture(scope="module")
def run(cluster: Cluster, runner: Identity) -> Iterator[str]:
    """A namespace of an attempt as its runner made it, closed, with a pod in it."""
    with run_of(runner) as name:
        core = f"/api/v1/namespaces/{name}"
        until(lambda: may(runner, "POST", f"{core}/serviceaccounts?{DRY}", NAMES))
        runner.api.ask("POST", f"/apis/networking.k8s.io/v1/namespaces/{name}/networkpolicies", DENY_ALL)
        runner.api.ask("POST", f"{core}/secrets", {"metadata": {"name": "ticket"}, "type": "Opaque"})
        until(lambda: may(runner, "POST", f"{core}/pods", POD), lambda: "its account never came")
        yield name


@pytest.fixture(scope="module")
def people(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Identity]]:
    """`developer`: all that is in namespaces, in every one, more than the role `admin`; `neighbour`: another runner, with a runner's rights in every namespace; `administrator`."""
    tag = f"test-{secrets.token_hex(4)}"
    with cluster.namespace() as namespace:
        places = {"developer": namespace, "neighbour": NAMESPACE}
        roles = {"developer": f"{tag}-developer", "neighbour": "lockgate-run"}
        groups = ["", "apps", "networking.k8s.io", "policy", "rbac.authorization.k8s.io"]
        cluster.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": roles["developer"]},
                "rules": [{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}],
            }
        )
        for who, place in places.items():
            bound: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": roles[who]}
            metadata = {"name": f"{tag}-{who}"}
            cluster.apply(
                {
                    "apiVersion": "v1",
                    "kind": "ServiceAccount",
                    "metadata": {"name": metadata["name"], "namespace": place},
                },
                bound | {"metadata": metadata, "roleRef": role, "subjects": [account(place, metadata["name"])]},
            )
        found = {
            who: account_identity(cluster, tmp_path_factory.mktemp(who), place, f"{tag}-{who}")
            for who, place in places.items()
        }
        try:
            for who in places:  # what was bound a moment ago the API server may not know yet
                until(lambda who=who: may(found[who], "POST", f"/api/v1/namespaces/{namespace}/secrets?{DRY}", NAMES))  # type: ignore[misc]
            yield found | {"administrator": Identity(cluster.kubeconfig, cluster.access)}
        finally:
            for who, place in places.items():
                cluster.kubectl("delete", "clusterrolebinding", f"{tag}-{who}")
                cluster.kubectl("delete", "serviceaccount", f"{tag}-{who}", "-n", place)
            cluster.kubectl("delete", "clusterrole", roles["developer"])


CORE, NET = "/api/v1/namespaces/{run}", "/apis/networking.k8s.io/v1/namespaces/{run}"
TOUCHES: dict[str, tuple[str, str, Any, str]] = {
    "a command in a pod": ("POST", CORE + "/pods/pod/exec?command=sh&stdout=true", None, ENTERS),
    "a hand on a pod's terminal": ("POST", CORE + "/pods/pod/attach?stdout=true", None, ENTERS),
    "a way to a pod's ports": ("POST", CORE + "/pods/pod/portforward", None, ENTERS),
    "a proxy to a pod": ("GET", CORE + "/pods/pod/proxy/", None, ENTERS),
    "a container more in a pod": (
        "PATCH",
        CORE + f"/pods/pod/ephemeralcontainers?{DRY}",
        {"spec": {"ephemeralContainers": [POD["spec"]["containers"][0] | {"name": "look"}]}},
        ENTERS,
    ),
    "a pod": ("POST", CORE + f"/pods?{DRY}", POD | {"metadata": {"name": "other"}}, ACTS),
    "a label that policies go by": (
        "PATCH",
        CORE + f"/pods/pod?{DRY}",
        {"metadata": {"labels": {"lockgate.dev/stage": "9"}}},
        ACTS,
    ),
    "a pod's status": ("PATCH", CORE + f"/pods/pod/status?{DRY}", {"status": {"message": "x"}}, ACTS),
    "a secret": ("POST", CORE + f"/secrets?{DRY}", NAMES | {"type": "Opaque"}, ACTS),
    "another ticket": ("PATCH", CORE + f"/secrets/ticket?{DRY}", {"metadata": {"labels": {"a": "b"}}}, ACTS),
    "the end of a ticket": ("DELETE", CORE + f"/secrets/ticket?{DRY}", None, ACTS),
    "a config map": ("POST", CORE + f"/configmaps?{DRY}", NAMES, ACTS),
    "a token of its account": (
        "POST",
        CORE + f"/serviceaccounts/default/token?{DRY}",
        {"metadata": {"name": "default"}, "spec": {}},
        ACTS,
    ),
    "a way out": ("POST", NET + f"/networkpolicies?{DRY}", POLICY, ACTS),
    "another way out": ("PATCH", NET + f"/networkpolicies/deny-all?{DRY}", {"spec": {"egress": [{}]}}, ACTS),
    "the end of what closes it": ("DELETE", NET + f"/networkpolicies/deny-all?{DRY}", None, ACTS),
    "the end of all that closes it": ("DELETE", NET + f"/networkpolicies?{DRY}", None, ACTS),
    "a right in it": (
        "POST",
        RBAC + "/namespaces/{run}/rolebindings?" + DRY,
        binding({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "dora"}, name="theirs"),
        ACTS,
    ),
}


@pytest.mark.parametrize("who", ["developer", "administrator"])
@pytest.mark.parametrize("what", TOUCHES)
def test_whatever_rbac_gives_them_nobody_else_gets(run: str, people: dict[str, Identity], what: str, who: str) -> None:
    method, path, body, why = TOUCHES[what]
    assert why in refusal(people[who], method, path.format(run=run), body)


def refusal(who: Identity, method: str, path: str, body: Any) -> str:
    try:
        who.api.ask(method, path, body, kind=MERGE if method == "PATCH" else "application/json")
    except Refused as refused:
        assert refused.status == 403, refused
        return refused.message
    pytest.fail(f"{method} {path} was done")


def test_a_neighbour_of_the_same_rights_gets_nothing_in_a_run_and_may_remove_it(
    run: str, people: dict[str, Identity], runner: Identity
) -> None:
    """Only the mark says when a namespace is over, which the API server cannot read: a reaper verifies it before it deletes."""
    neighbour, core = people["neighbour"], CORE.format(run=run)
    for path, body in (("pods", POD | {"metadata": {"name": "other"}}), ("secrets", NAMES | {"type": "Opaque"})):
        assert ACTS in refusal(neighbour, "POST", f"{core}/{path}?{DRY}", body)
        if path == "secrets":
            assert may(runner, "POST", f"{core}/{path}?{DRY}", body), "its maker may"
    assert ACTS in refusal(neighbour, "POST", f"{NET.format(run=run)}/networkpolicies?{DRY}", POLICY)
    assert ACTS in refusal(neighbour, "DELETE", f"{core}/pods/pod?{DRY}", None)


def test_a_neighbour_binds_nothing_in_a_namespace_of_anothers(cluster: Cluster, run: str) -> None:
    user = f"system:serviceaccount:{NAMESPACE}:other"
    said = cluster.kubectl(
        *("create", "rolebinding", "theirs", "--clusterrole=lockgate-run", f"--serviceaccount={NAMESPACE}:other"),
        *("-n", run, "--dry-run=server", f"--as={user}", f"--as-group=system:serviceaccounts:{NAMESPACE}"),
        "--as-group=system:masters",
        check=False,
    ).stderr
    assert "binds in namespaces that it made only" in said or ACTS in said
    removed = cluster.kubectl(
        *("delete", "namespace", run, "--dry-run=server", f"--as={user}"),
        *(f"--as-group=system:serviceaccounts:{NAMESPACE}", "--as-group=system:masters"),
    )
    assert "deleted" in removed.stdout


def test_its_own_maker_gets_no_secret_that_would_hold_a_token(run: str, runner: Identity) -> None:
    minting = {
        "metadata": {"name": "x", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    }
    assert "is its ticket" in refusal(runner, "POST", f"{CORE.format(run=run)}/secrets?{DRY}", minting)


def test_an_administrator_may_end_what_runs(run: str, people: dict[str, Identity]) -> None:
    core, administrator = CORE.format(run=run), people["administrator"]
    evicts = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "pod", "namespace": run}}
    assert may(administrator, "POST", f"{core}/pods/pod/eviction?{DRY}", evicts)
    assert may(administrator, "DELETE", f"{core}/pods/pod?{DRY}", None)
    assert may(administrator, "DELETE", f"{core}?{DRY}", None)
    for path in ("/pods/pod", ""):
        said = refusal(people["developer"], "DELETE", f"{core}{path}?{DRY}", None)
        assert ACTS in said or "removed by runners" in said


def test_the_clusters_own_accounts_run_what_is_there_and_make_nothing_of_what_holds_it(
    cluster: Cluster, run: str
) -> None:
    def said(*words: str) -> str:
        done = cluster.kubectl(*words, "-n", run, "--dry-run=server", *SYSTEM, check=False)
        return done.stdout + done.stderr

    assert "created" in said("create", "configmap", "x")
    assert "deleted" in said("delete", "pod", "pod")
    for words in (
        ("delete", "networkpolicy", "deny-all"),
        ("create", "secret", "generic", "x"),
        ("create", "rolebinding", "x", "--clusterrole=view", "--user=dora"),
        ("label", "pod", "pod", "a=b"),
    ):
        assert ACTS in said(*words), words
    assert ENTERS in cluster.kubectl("exec", "pod", "-n", run, *SYSTEM, "--", "true", check=False).stderr


def test_what_is_stuck_is_freed_by_an_administrator_and_by_the_clusters_own_accounts(
    cluster: Cluster, run: str, runner: Identity, people: dict[str, Identity]
) -> None:
    """As the garbage collector does after a delete in the foreground; whoever cannot change a finalizer leaves a namespace for ever."""
    core = CORE.format(run=run)
    for name, free in {"first": (), "second": SYSTEM}.items():
        held = POD | {"metadata": {"name": name, "finalizers": ["lockgate.test/hold"]}}
        until(lambda held=held: may(runner, "POST", f"{core}/pods", held))  # type: ignore[misc]
        runner.api.ask("DELETE", f"{core}/pods/{name}")
        patch = {"metadata": {"finalizers": None}}
        assert ACTS in refusal(people["developer"], "PATCH", f"{core}/pods/{name}?{DRY}", patch)
        words = ("patch", "pod", name, "-n", run, "--type=merge", "-p", json.dumps(patch))
        assert "patched" in cluster.kubectl(*words, *free).stdout
        assert "NotFound" in cluster.kubectl("get", "pod", name, "-n", run, check=False).stderr


def test_a_namespace_that_is_nobodys_run_is_as_it_was(cluster: Cluster, people: dict[str, Identity]) -> None:
    with cluster.namespace() as other:
        for path in ("configmaps", "secrets"):
            assert may(people["developer"], "POST", f"/api/v1/namespaces/{other}/{path}?{DRY}", NAMES)
