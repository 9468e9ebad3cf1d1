"""The namespace of one attempt: made closed before any pod is in it, and removed with all that is left. It must not be changed once a pod runs, but for holes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from lockgate.runner.sandbox.kubernetes import absence, objects
from lockgate.runner.sandbox.kubernetes.api import ApiRefused, ApiUnavailable, Conflict
from lockgate.runner.sandbox.kubernetes.cluster import Cluster, PodRef, Standing
from lockgate.runner.sandbox.kubernetes.failures import not_made
from lockgate.runner.sandbox.kubernetes.memory import place_of, pods_of
from lockgate.runner.sandbox.kubernetes.objects import Document, Hole, PodPlan
from lockgate.runner.sandbox.kubernetes.ordered import check_order, check_running, check_same
from lockgate.runner.sandbox.kubernetes.paging import PODS, whole
from lockgate.runner.sandbox.kubernetes.watch import Pod, PodWatch
from lockgate.runner.sandbox.port import SandboxLimits, SandboxUnavailable

NAMESPACES: Final = "/api/v1/namespaces"
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
ROLE_SECONDS: Final = 5.0
"""How long a refusal may mean that the API server does not know of the role that was bound yet, or, just started, of any role."""
_ROLE_PAUSES: Final = (0.01, 0.02, 0.05, 0.1, 0.25)


class Enclosure:
    """One namespace. ``open`` once, ``make`` for each pod, ``end`` each, ``release`` in the end; every method may be called at any time."""

    def __init__(self, cluster: Cluster, standing: Standing, enclosure: str) -> None:
        self._cluster = cluster
        self._standing = standing
        self.enclosure = enclosure
        self.name = objects.namespace_name(enclosure)
        self.watch = PodWatch(cluster.api, self.name)
        self.made: dict[str, PodRef] = {}
        self.whole = False
        """Whether every pod that was ever made in it is in ``made``: not of one that a dead process had, nor after an order whose answer was lost."""
        self._uid = ""
        self.closes = False
        """Whether no more pods come: then the namespace goes with the last one (ADR 46)."""
        self._opening: asyncio.Task[None] | None = None
        self._removal: asyncio.Task[str | None] | None = None
        self._told: set[str] = set()
        self._closed: float | None = None
        self._numbers = 0

    async def open(self, limits: SandboxLimits, mounts_bytes: int) -> None:
        """The namespace and everything that closes it; the first call does it, all wait for it. Raises SandboxUnavailable, SpecRefused.

        `mounts_bytes`: what the directories of any pod of it come to at most.
        """
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open(limits, mounts_bytes))
        await asyncio.shield(self._opening)

    async def _open(self, limits: SandboxLimits, mounts_bytes: int) -> None:
        cluster, millis = self._cluster, self._cluster.settings.cpu_millis
        annotations = self._standing.marks.annotations(self.name)
        try:
            closed = objects.namespace(self.name, cluster.runner, self._standing.user, annotations)
            made = await cluster.api.create(NAMESPACES, closed, readable=True)
            self._uid, self.whole = str(made["metadata"]["uid"]), True
            binding = objects.role_binding(cluster.settings.role, self._standing.subject)
            await self._create("rbac.authorization.k8s.io/v1", "rolebindings", binding)
            self.watch.open()
            await _all(
                self._create("v1", "serviceaccounts", objects.service_account()),
                self._create("v1", "resourcequotas", objects.quota(limits, mounts_bytes, millis)),
                self._create("v1", "limitranges", objects.limit_range(limits, mounts_bytes, millis)),
                self._create("networking.k8s.io/v1", "networkpolicies", objects.deny_all()),
            )
        except (ApiRefused, ApiUnavailable) as error:
            raise not_made(f"namespace {self.name}", error) from None

    def number(self) -> int:
        """The number of the next pod."""
        self._numbers += 1
        return self._numbers

    async def make(self, plan: PodPlan, holes: Sequence[Hole], ticket: bytes) -> Pod:
        """One pod and what belongs to it, the pod last: a connection that stands outlives a policy that forbids it.

        Raises SandboxUnavailable, SpecRefused; the pod may be there all the same, so look for it (``sandboxes``).
        """
        order = objects.pod(plan)
        try:
            await _all(
                self._create("networking.k8s.io/v1", "networkpolicies", objects.holes(plan.number, holes)),
                self._create("v1", "secrets", objects.ticket(plan.number, ticket)),
            )
            pod = await self._create("v1", "pods", order, readable=True)
        except (ApiRefused, ApiUnavailable) as error:
            self.whole = self.whole and isinstance(error, ApiRefused) and not isinstance(error, Conflict)
            raise not_made(f"pod {plan.name} in {self.name}", error) from None
        except asyncio.CancelledError:
            self.whole = False  # its order may be on its way: nobody hears the answer
            raise
        self.made[pod["metadata"]["uid"]] = PodRef(pod["metadata"]["uid"], "")
        await self.watch.knows(pod)
        check_order(order, pod, self._cluster.settings.network_annotations)
        return pod

    async def check_again(self, plan: PodPlan, pod: Pod) -> None:
        """The pod as the API server has it at this moment is the one that was let in, and as it was ordered. Raises SandboxUnavailable, SpecRefused."""
        try:
            held = await self._cluster.api.get(f"{self._path('v1', 'pods')}/{plan.name}")
        except (ApiRefused, ApiUnavailable) as error:
            raise not_made(f"pod {plan.name} in {self.name}", error) from None
        check_same(pod, held)
        check_running(objects.pod(plan), held, self._cluster.settings.network_annotations)

    def runs_on(self, pod: Pod) -> None:
        """Remember which node a pod came to, and when it was first seen to run there: that node is asked later whether it is gone."""
        uid = str(pod["metadata"]["uid"])
        known, node = self.made.get(uid, PodRef(uid, "")), str(pod.get("spec", {}).get("nodeName") or "")
        ran_by = self._cluster.nodes.now() if known.ran_by is None and has_run(pod) else known.ran_by
        self.made[uid] = replace(known, node=node, ran_by=ran_by)

    async def placed(self, sandbox_id: str, pod: Pod) -> None:
        """Remember also beyond this process' life which node that was. Raises SandboxUnavailable."""
        self.runs_on(pod)
        uid, nodes = str(pod["metadata"]["uid"]), self._cluster.nodes
        try:
            node_uid = await nodes.uid_of(self.made[uid].node)
        except ApiUnavailable as error:
            raise _unseen(f"node {self.made[uid].node}", error) from None
        self.made[uid] = replace(self.made[uid], node_uid=node_uid)
        self._cluster.memory.remember(sandbox_id, place_of(self.enclosure, self.made[uid]))

    async def order_end(self, pod: Pod) -> None:
        """Have one pod ended within its short grace. Raises ApiRefused, ApiUnavailable."""
        metadata = pod["metadata"]
        options = {"gracePeriodSeconds": objects.GRACE_SECONDS, "preconditions": {"uid": metadata["uid"]}}
        await self._cluster.api.delete(f"{self._path('v1', 'pods')}/{metadata['name']}", options)
        self._told.add(metadata["uid"])

    async def end(self, pod: Pod) -> dict[str, bool]:
        """End one pod and look: its object is gone, and its node runs it no more. Raises SandboxUnavailable."""
        uid = str(pod["metadata"]["uid"])
        try:
            known = self.watch.pods.get(uid)
            if known is not None:
                self.runs_on(known)
            absent = await self._ended(pod)
        except (ApiRefused, ApiUnavailable) as error:
            raise _unseen(f"pod {pod['metadata']['name']} in {self.name}", error) from None
        none_left = absent and await self._cluster.nodes.run_none_of([self.made[uid]])
        if none_left:  # and nothing of it begins any more
            self.made[uid] = replace(self.made[uid], ran_by=self._cluster.nodes.now())
        return {"pod": absent, "processes": none_left}

    async def _ended(self, pod: Pod) -> bool:
        """Order one pod's end, and its namespace's if no more come; whether the pod's object is gone. Raises ApiRefused, ApiUnavailable, SandboxUnavailable."""
        metadata, seconds = pod["metadata"], self._cluster.settings.teardown_seconds
        try:
            await self.order_end(pod)
            if self._standing.pods_first:  # else its policies, and our rights in it, could go before the pod
                self._close()
            pods = self._path("v1", "pods")
            left = await absence.gone(self._cluster.api, pods, metadata["name"], str(metadata["uid"]), seconds)
        except ApiRefused as refused:
            if self._removal is None or refused.status != _FORBIDDEN:
                raise
            # Our rights in it went with what was in it; where the namespace itself is gone, so is the pod.
            return await self._is_gone(await self._removal)
        if left is None:
            self._close()
        return left is None

    def _close(self) -> None:
        """Have the namespace go, once no more pods come. Its controller waits for five seconds before it does anything, so it is told early."""
        if self.closes and self._removal is None:
            every = self.whole and self.made.keys() <= self._told
            self._removal = asyncio.get_running_loop().create_task(self._delete(self._uid) if every else self._remove())

    async def _is_gone(self, uid: str | None) -> bool:
        """Of the namespace of that UID; None: there was none."""
        seconds = self._cluster.settings.teardown_seconds
        return uid is None or await absence.gone(self._cluster.api, NAMESPACES, self.name, uid, seconds) is None

    async def release(self) -> dict[str, bool]:
        """Everything goes: pods first, with their short grace, then the namespace, then a look at the nodes. Raises SandboxUnavailable."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
        await self.watch.close()
        if self._removal is not None:
            await asyncio.wait([self._removal])
            self._removal.exception()  # the same is done again below
        try:
            absent = await self._is_gone(await self._remove())
        except (ApiRefused, ApiUnavailable) as error:
            raise _unseen(f"namespace {self.name}", error) from None
        before = [pod for pod in pods_of(self._cluster.memory, self.enclosure) if pod.uid not in self.made]
        pods = [*self.made.values(), *before]
        none_left = absent and await self._cluster.nodes.run_none_in(self.name, pods, self._closed, whole=self.whole)
        return {"namespace": absent, "processes": none_left}

    async def _remove(self) -> str | None:
        """Order the end of all that is left in it, and its own: its UID. None when there is none. Raises ApiRefused, ApiUnavailable, SandboxUnavailable."""
        namespace = await self._found()
        if namespace is None:
            return None
        await self._end_pods()
        return await self._delete(str(namespace["metadata"]["uid"]))

    async def sandboxes(self) -> dict[str, Pod]:
        """Every pod that is in it, by the id of its sandbox, as the API server has it now. Raises ApiRefused, ApiUnavailable."""
        found = {}
        for pod in (await whole(self._cluster.api, self._path("v1", "pods"), PODS)).items:
            self.runs_on(pod)
            found[str(pod["metadata"].get("annotations", {}).get(objects.SANDBOX_ANNOTATION) or "")] = pod
        return found

    async def _found(self) -> Document | None:
        """The namespace, if there is one of this name; not to be touched unless it is ours. Raises SandboxUnavailable."""
        try:
            found = await self._cluster.api.get(f"{NAMESPACES}/{self.name}")
        except ApiRefused as refused:
            if refused.status == _NOT_FOUND:
                return None
            raise
        if found["metadata"]["uid"] != self._uid and not self._standing.marks.ours(found):
            raise SandboxUnavailable(
                f"namespace {self.name} carries no mark of this region's runners",
                "find out who made it; Lockgate leaves it alone",
            )
        return found

    async def _end_pods(self) -> None:
        try:
            pods = await self.sandboxes()
        except ApiRefused as refused:
            if refused.status == _FORBIDDEN:
                return  # the role was never bound here: no pod was ever made
            raise
        await _all(*(self.order_end(pod) for pod in pods.values()))

    async def _delete(self, uid: str) -> str:
        """Every pod of it was told to end."""
        try:
            options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
            await self._cluster.api.delete(f"{NAMESPACES}/{self.name}", options)
        except ApiRefused as refused:
            if refused.status != _CONFLICT:  # it is on its way already
                raise
        self._closed = self._closed or self._cluster.nodes.now()  # nothing is made in what is being removed
        return uid

    def _path(self, version: str, kind: str) -> str:
        root = "/api" if version == "v1" else "/apis"
        return f"{root}/{version}/namespaces/{self.name}/{kind}"

    async def _create(self, version: str, kind: str, document: Document, *, readable: bool = False) -> Document:
        """A role that was bound a moment ago may not have reached the server's authorizer, nor may any where the server has just been started anew: for so
        long *forbidden* is asked again, from when that is first said."""
        loop, tries = asyncio.get_running_loop(), 0
        end = math.inf
        while True:
            try:
                return await self._cluster.api.create(self._path(version, kind), document, readable=readable)
            except ApiRefused as refused:
                pause = _ROLE_PAUSES[min(tries, len(_ROLE_PAUSES) - 1)]
                end = min(end, loop.time() + ROLE_SECONDS)
                if not _role_unknown(refused) or loop.time() + pause > end:
                    raise
            tries += 1
            await asyncio.sleep(pause)


def has_run(pod: Pod) -> bool:
    """Whether its node says that it began the pod's container."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return any({"running", "terminated"} & set(each.get("state") or ()) for each in statuses)


def _role_unknown(refused: ApiRefused) -> bool:
    """The authorizer's own sentence, and not an admission's."""
    return refused.status == _FORBIDDEN and " cannot create resource " in refused.message


def _unseen(what: str, error: ApiRefused | ApiUnavailable) -> SandboxUnavailable:
    return SandboxUnavailable(
        f"{what}: its end cannot be seen: {str(error)[:300]}", "see that the API server answers this runner"
    )


async def _all(*work: Any) -> None:
    """All of them, and the first failure once none is under way any more."""
    done = await asyncio.gather(*work, return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
