"""Asks the nodes' kubelets what they still run of an attempt; it must not take an object's absence, or a silence, for the absence of processes.

A pod object deleted by force is gone in a moment, while its processes live on for seconds, and behind a dead kubelet for as long as it stays dead. Whoever
cannot be asked has not said that nothing runs (ADR 0041). The kubelet is asked directly, with a token of an account that can do nothing else: a node sees it.
"""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused, ApiUnavailable
from lockgate.runner.sandbox.kubernetes.cluster import PodRef

TOKEN_SECONDS: Final = 600
TOKEN_USED_SECONDS: Final = 300.0
ASK_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.2
STALE_SECONDS: Final = 3.2
"""Kubelets answer from a cache of their runtime that is up to three seconds old when they are asked (`runtimeCacheRefreshPeriod`)."""
MAX_ANSWER_BYTES: Final = 8 << 20
MAX_NODES: Final = 1000
MAX_AT_ONCE: Final = 16
NODES: Final = "/api/v1/nodes"


class Unanswered(Exception):
    """A node did not say what it runs: it was not reached, not believed, or does not let us ask."""


@dataclass(frozen=True, slots=True)
class Account:
    """The service account whose tokens nodes are shown: one that may `get` nodes/pods, and nothing else."""

    namespace: str
    name: str


@dataclass
class KubeletNodes:
    """Implements ``cluster.Nodes``. ``seconds`` is how long what is ending is waited for; ``clock`` in seconds."""

    api: Api
    account: Account
    seconds: float
    clock: Callable[[], float] = time.monotonic
    stale: float = STALE_SECONDS
    _token: str = field(default="", repr=False)
    _until: float = 0.0
    _context: ssl.SSLContext | None = field(default=None, repr=False)
    _last: dict[str, tuple[float, list[Mapping[str, Any]]]] = field(default_factory=dict, repr=False)
    _turns: dict[str, asyncio.Lock] = field(default_factory=dict, repr=False)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE), repr=False)

    def now(self) -> float:
        """The clock that ``PodRef.ran_by`` and ``closed`` are told on."""
        return self.clock()

    async def run_none_of(self, pods: Collection[PodRef]) -> bool:
        """True when every node that may have run one of these says that it runs none; False when one does, or does not say."""
        uids = {pod.uid for pod in pods}
        return await self._none(pods, lambda said: said.get("uid") in uids, self._since(pods))

    async def run_none_in(
        self, namespace: str, pods: Collection[PodRef], closed: float | None = None, *, whole: bool = True
    ) -> bool:
        """The same for everything in a namespace. Of one whose pods nobody remembers, or not for sure all of them (its runner died), every node is asked."""
        nodes = pods if pods and whole else (*pods, PodRef("", ""))
        uids = {pod.uid for pod in pods}
        since = max(self._since(pods), self.clock() if closed is None else closed)
        return await self._none(
            nodes, lambda said: said.get("namespace") == namespace or said.get("uid") in uids, since
        )

    async def uid_of(self, node: str) -> str:
        """The UID of a node's object; "" when it may not be read, or is gone. Raises ApiUnavailable."""
        try:
            return str((await self.api.get(f"{NODES}/{node}"))["metadata"]["uid"])
        except ApiRefused:
            return ""

    def _since(self, pods: Collection[PodRef]) -> float:
        """From when on a pod's absence proves its end: it ran by then. What nobody saw run may be about to begin, until now."""
        now = self.clock()
        return max((now if pod.ran_by is None else pod.ran_by for pod in pods), default=-math.inf)

    async def _none(self, pods: Collection[PodRef], ours: Callable[[Mapping[str, Any]], bool], since: float) -> bool:
        counts = since + self.stale
        end = max(self.clock() + self.seconds, counts)
        try:
            places = await self._places(pods)
            while True:
                asked = self.clock()  # of an answer its question's moment counts: it may have been long on its way
                some = await self._any(places, ours, asked)
                if not some and asked >= counts:
                    return True
                if some and self.clock() + PAUSE_SECONDS > end:
                    return False
                await asyncio.sleep(PAUSE_SECONDS if some else max(0.0, counts - self.clock()))
        except (Unanswered, ApiRefused, ApiUnavailable):
            return False

    async def _any(self, places: Collection[str], ours: Callable[[Mapping[str, Any]], bool], asked: float) -> bool:
        token = await self._fresh_token()
        said = await asyncio.gather(*(self._said(place, asked, token) for place in places))
        return any(ours(pod) for pods in said for pod in pods)

    async def _said(self, place: str, asked: float, token: str) -> list[Mapping[str, Any]]:
        """A kubelet's answer to a question of this moment or a later one: many attempts that end at once share it. Raises Unanswered."""
        async with self._turns.setdefault(place, asyncio.Lock()):
            last = self._last.get(place)
            if last is not None and last[0] >= asked:
                return last[1]
            client = httpx2.AsyncClient(verify=self.context(), trust_env=False, timeout=ASK_SECONDS)
            async with self._room, client:
                began = self.clock()
                self._last[place] = began, await running(client, place, token)
            return self._last[place][1]

    async def _places(self, pods: Collection[PodRef]) -> list[str]:
        """Where the kubelets of these pods' nodes listen; "" among them: of all nodes. A node that is no longer there cannot say that nothing runs, nor can
        another one in its place. Raises Unanswered."""
        names = {pod.node for pod in pods}
        nodes = (
            await self._all_nodes()
            if "" in names
            else [await self.api.get(f"{NODES}/{name}") for name in sorted(names)]
        )
        uids = {str(node["metadata"]["name"]): str(node["metadata"].get("uid")) for node in nodes}
        for pod in pods:
            if pod.node and (pod.node not in uids or pod.node_uid not in ("", uids[pod.node])):
                raise Unanswered(f"the node {pod.node} that had a pod is gone, or another one has its name")
        return [place_of(node) for node in nodes]

    async def _all_nodes(self) -> list[Mapping[str, Any]]:
        listed = await self.api.get(NODES, {"limit": str(MAX_NODES)})
        if listed.get("metadata", {}).get("continue"):
            raise Unanswered(f"there are more than {MAX_NODES} nodes")
        return list(listed.get("items") or ())

    async def _fresh_token(self) -> str:
        if self.clock() >= self._until:
            path = f"/api/v1/namespaces/{self.account.namespace}/serviceaccounts/{self.account.name}/token"
            request = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "metadata": {"name": self.account.name},
                "spec": {"expirationSeconds": TOKEN_SECONDS},
            }
            self._token = str((await self.api.create(path, request))["status"]["token"])
            self._until = self.clock() + TOKEN_USED_SECONDS
        return self._token

    def context(self) -> ssl.SSLContext:
        """Believes whom the API server's own CA vouches for; shows no certificate: with one the kubelet would see the runner itself."""
        if self._context is None:
            authorities = b"".join(self.api.access.context.get_ca_certs(binary_form=True))
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._context.load_verify_locations(cadata=authorities)
        return self._context


async def running(client: httpx2.AsyncClient, place: str, token: str) -> list[Mapping[str, Any]]:
    """The metadata of every pod of which the kubelet at host:port finds a sandbox or container that runs. Raises Unanswered."""
    data = bytearray()
    try:
        async with client.stream(
            "GET", f"https://{place}/runningpods/", headers={"authorization": f"Bearer {token}"}
        ) as answer:
            if answer.status_code != httpx2.codes.OK:
                raise Unanswered(f"{place} answers {answer.status_code}")
            async for piece in answer.aiter_bytes():
                data += piece
                if len(data) > MAX_ANSWER_BYTES:
                    raise Unanswered(f"{place} answers more than {MAX_ANSWER_BYTES} bytes")
    except httpx2.HTTPError as error:
        raise Unanswered(f"{place}: {type(error).__name__}: {str(error)[:200]}") from None
    return listed(bytes(data), place)


def listed(data: bytes, place: str) -> list[Mapping[str, Any]]:
    """The pods' metadata of a kubelet's answer. Raises Unanswered for anything that is no such list: nothing that runs is overlooked."""
    try:
        document = json.loads(data)
        if document["kind"] != "PodList":
            raise ValueError(document["kind"])
        found = [item["metadata"] for item in document["items"] or ()]
    except (ValueError, KeyError, TypeError):
        raise Unanswered(f"{place} answers what is no list of pods") from None
    if not all(isinstance(said, dict) and isinstance(said.get("uid"), str) for said in found):
        raise Unanswered(f"{place} tells of a pod without a UID")
    return found


def place_of(node: Mapping[str, Any]) -> str:
    """host:port of a node's kubelet, as the node's object says. Raises Unanswered."""
    status = node.get("status", {})
    port = status.get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port")
    for address in status.get("addresses") or ():
        if address.get("type") == "InternalIP" and isinstance(port, int):
            host = str(address["address"])
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    raise Unanswered(f"node {node.get('metadata', {}).get('name')} does not say where its kubelet is")
