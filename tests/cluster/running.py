"""A running cluster as tests see it, the standing one or any that a kubeconfig names; it must not know how one is started."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.cluster.api import Access, Api
from tests.cluster.place import ClusterError, Place

PATIENCE = 300.0
"""Seconds; a deadline only keeps a broken test from waiting for ever, on a machine that is busy with others too."""

KUBECTL_SECONDS = 120.0
_PAUSE = threading.Event()
Found = TypeVar("Found")


@dataclass(frozen=True)
class Cluster:
    """`place` is None for a cluster that was named in KUBECONFIG: its node is not this machine, and its audit log cannot be read."""

    kubeconfig: Path
    kubernetes: Path
    place: Place | None

    @property
    def access(self) -> Access:
        """Where the API is and who asks."""
        return Access.read(self.kubeconfig)

    @property
    def api(self) -> Api:
        """The tests' own client, as the kubeconfig's user."""
        return Api(self.access)

    @property
    def url(self) -> str:
        """The API server's address."""
        return self.access.server

    @property
    def ca(self) -> bytes:
        """Its authority's certificate, in PEM."""
        return self.access.authority

    @property
    def node_ip(self) -> str:
        """An address of this machine that pods can reach: the node's own, else LOCKGATE_CLUSTER_HOST; raises ClusterError."""
        if self.place is not None:
            return self.place.node_ip
        given = os.environ.get("LOCKGATE_CLUSTER_HOST")
        if not given:
            raise ClusterError(
                "LOCKGATE_CLUSTER_HOST must name an address of this machine that the cluster's pods can reach"
            )
        return given

    @property
    def audit_log(self) -> Path:
        """The API server's audit log; raises ClusterError for a cluster whose files are not here."""
        if self.place is None:
            raise ClusterError(
                "the audit log of a cluster named in KUBECONFIG cannot be read; leave these out: -m 'not node'"
            )
        return self.place.audit_log

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl; with `check`, a failure fails the test with what it said."""
        argv = [str(self.kubernetes), "kubectl", f"--kubeconfig={self.kubeconfig}", *words]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=KUBECTL_SECONDS)
        assert done.returncode == 0 or not check, f"kubectl {' '.join(words)}: {done.stderr}"
        return done

    def apply(self, *objects: dict[str, Any], by: tuple[str, ...] = ()) -> None:
        """Create or change objects; `by`: words that name another user."""
        whole = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "-f", "-", *by, stdin=json.dumps(whole))

    @contextmanager
    def namespace(self, **labels: str) -> Iterator[str]:
        """A namespace of its own for a test, deleted afterwards with all in it; nothing waits for that, which takes five seconds at least."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        body = {"metadata": {"name": name, "labels": {key.replace("__", "/"): word for key, word in labels.items()}}}
        self.api.ask("POST", "/api/v1/namespaces", body)
        try:
            until(lambda: has_account(self.api, name))
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")

    def audit_events(self, **fields: Any) -> list[dict[str, Any]]:
        """The audit log's finished requests whose fields are these; `user` is the name of who asked."""
        whole, _, _ = self.audit_log.read_text().rpartition("\n")  # the last line may be half written
        events = [json.loads(line) for line in whole.splitlines()]
        found = [each for each in events if each["stage"] == "ResponseComplete"]
        if "user" in fields:
            user = fields.pop("user")
            found = [each for each in found if each["user"]["username"] == user]
        return [each for each in found if all(each.get(name) == value for name, value in fields.items())]

    def pod_phase(self, namespace: str, name: str) -> str:
        """A pod's phase."""
        return str(self.api.ask("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")["status"]["phase"])

    def logs(self, namespace: str, name: str) -> str:
        """What a pod's container wrote."""
        return self.api.text(f"/api/v1/namespaces/{namespace}/pods/{name}/log")

    def run_to_end(self, namespace: str, pod: dict[str, Any]) -> tuple[str, str]:
        """Make a pod, wait until it ended: its phase and what it wrote."""
        self.api.ask("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
        name = pod["metadata"]["name"]
        until(lambda: self.pod_phase(namespace, name) in ("Succeeded", "Failed"))
        return self.pod_phase(namespace, name), self.logs(namespace, name)


def has_account(api: Api, namespace: str) -> bool:
    """Whether pods may be made: without its account a namespace refuses them."""
    listed = api.ask("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts")
    return any(each["metadata"]["name"] == "default" for each in listed["items"])


def until(what: Callable[[], Found], told: Callable[[], str] = str) -> Found:
    """The first true answer; a failure names what was waited for in its first line, and what was last seen."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, never(what, found, told())
        _PAUSE.wait(0.05)
    return found


def never(what: Callable[..., Any], seen: object, told: str = "") -> str:
    """That something did not come to be: as it stands in its source, what it was at last, and then whatever else is `told`."""
    try:
        asked = " ".join("".join(inspect.getsourcelines(what)[0]).split())
    except (OSError, TypeError):
        asked = repr(what)
    return f"not within {PATIENCE:.0f} s: {asked[:200]}; last seen: {str(seen)[:200]!r}\n{told}"
