"""What all enclosures of one provider share: the API server, who this runner is to it, how a namespace is marked, how nodes are looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused
from lockgate.runner.sandbox.kubernetes.marks import RegionMarks
from lockgate.runner.sandbox.kubernetes.settings import KubernetesSettings

_ACCOUNT_PREFIX = "system:serviceaccount:"
PODS_FIRST_SINCE: Final = (1, 34)
"""From this version on no setting switches `OrderedNamespaceDeletion` off: what holds a namespace's pods stays until the last of them is gone."""
_LEADING_DIGITS: Final = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class PodRef:
    """A pod that was made: who it is, and the node that was to run it ("" when none was found for it).

    ``ran_by``: a moment by which its node had begun it, on the clock of ``Nodes``; None when nobody saw that. ``node_uid``: of the node's object at
    that time, "" when it was not read: another node of the same name later knows nothing of what the first one ran.
    """

    uid: str
    node: str
    ran_by: float | None = None
    node_uid: str = ""


class Nodes(Protocol):
    """The nodes' own word on what they run; an API object that is gone is none (a deleted pod's processes may live on)."""

    def now(self) -> float:
        """The clock of ``PodRef.ran_by`` and ``closed``, in seconds."""

    async def run_none_of(self, pods: Collection[PodRef]) -> bool:
        """True when every node says that it runs none of these; False when one does, does not answer, or may not be asked."""

    async def run_none_in(
        self, namespace: str, pods: Collection[PodRef], closed: float | None = None, *, whole: bool = True
    ) -> bool:
        """The same for everything in a namespace, into which nothing came from ``closed`` on (None: until now); every node is asked when no pods of it
        are remembered, or there may have been others (not ``whole``)."""

    async def uid_of(self, node: str) -> str:
        """The UID of a node's object; "" when it may not be read. Raises ApiUnavailable."""


class PodMemory(Protocol):
    """Durable before it returns. Texts only: whoever keeps it need not know what they mean."""

    def remember(self, sandbox: str, place: Mapping[str, str]) -> None:
        """Keep it as long as the sandbox's attempt has no proven end."""

    def places(self) -> Mapping[str, Mapping[str, str]]:
        """All that is kept, by sandbox."""

    def enclosure_of(self, sandbox: str) -> str | None:
        """The enclosure of a sandbox that was ordered, wherever it was put; None when nobody remembers such an order."""


@dataclass(frozen=True)
class Cluster:
    """One cluster and this runner in it. ``marks``: by the cluster's identity, which is the uid of its namespace kube-system; asked first when a
    namespace is made, so that nothing that guards a channel is started by a process that has read a key. ``random``: n random bytes.
    """

    api: Api
    settings: KubernetesSettings
    runner: str
    image: str
    runtime_classes: Mapping[str, str]
    marks: Callable[[str], RegionMarks]
    nodes: Nodes
    random: Callable[[int], bytes]
    memory: PodMemory

    @property
    def image_digest(self) -> str:
        """``sha256:`` hex."""
        return self.image.partition("@")[2]


@dataclass(frozen=True)
class Standing:
    """Who this runner is to the cluster, by name and as the subject of a RoleBinding, and how it marks what it makes there.

    ``pods_first``: whether a namespace that is being removed keeps its policies, and our rights in it, for as long as a pod is in it.
    """

    user: str
    marks: RegionMarks
    pods_first: bool = False

    @property
    def subject(self) -> Mapping[str, str]:
        """As a RoleBinding names it."""
        return subject(self.user)


async def standing(cluster: Cluster) -> Standing:
    """By the API server's own word. Raises ApiRefused, ApiUnavailable."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
    answer = await cluster.api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    system = await cluster.api.get("/api/v1/namespaces/kube-system")
    marks = cluster.marks(str(system["metadata"]["uid"]))
    return Standing(str(answer["status"]["userInfo"]["username"]), marks, await _pods_first(cluster.api))


async def _pods_first(api: Api) -> bool:
    """Raises ApiUnavailable. What does not say its version is taken for an old one."""
    try:
        return ends_pods_first(await api.get("/version"))
    except ApiRefused:
        return False


def ends_pods_first(version: Mapping[str, Any]) -> bool:
    """By an API server's `/version`; clouds write minors such as ``34+``."""
    numbers = [_LEADING_DIGITS.match(str(version.get(name, ""))) for name in ("major", "minor")]
    found = tuple(int(number.group()) for number in numbers if number is not None)
    return len(found) == len(PODS_FIRST_SINCE) and found >= PODS_FIRST_SINCE


def subject(user: str) -> dict[str, str]:
    """A user name as the subject of a RoleBinding."""
    if user.startswith(_ACCOUNT_PREFIX):
        namespace, _, account = user.removeprefix(_ACCOUNT_PREFIX).partition(":")
        return {"kind": "ServiceAccount", "namespace": namespace, "name": account}
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
