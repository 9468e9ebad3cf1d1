"""One watch of one namespace's pods: what the API server last said of each, and waiting for it to say something. It polls nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused, ApiUnavailable

T = TypeVar("T")
Pod = Mapping[str, Any]
_PAUSES: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
_GONE: Final = 410
_OURS_NO_MORE: Final = (401, 403, 404)
FIRST_SECONDS: Final = 5.0
"""How long a refusal is taken for a role that the API server does not yet know of."""


class PodWatch:
    """``pods`` holds the last word on each pod of the namespace, by uid; ``told`` of everything that changes. Start it with ``open``."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._changed = asyncio.Condition()
        self._version = ""
        self._task: asyncio.Task[None] | None = None
        self._refused: ApiRefused | None = None
        self.pods: dict[str, Pod] = {}
        self.lists = 0
        self.watches = 0

    def open(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """End; whoever waits is told. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def until(self, uid: str, found: Callable[[Pod | None], T | None], seconds: float | None) -> T | None:
        """Wait until ``found`` of the pod of this uid is something; None when ``seconds`` are over (None: without an end).

        ``found`` is asked of the pod as it is now and after every change, with None once it is gone. Raises ApiRefused when the namespace
        cannot be looked into any more.
        """
        try:
            async with asyncio.timeout(seconds):
                async with self._changed:
                    while True:
                        value = found(self.pods.get(uid))
                        if value is not None:
                            return value
                        if self._refused is not None:
                            raise self._refused
                        await self._changed.wait()
        except TimeoutError:
            return None

    async def knows(self, pod: Pod) -> None:
        """A pod that was just made: the watch will tell of it, and until then it must not count as gone."""
        async with self._changed:
            self.pods.setdefault(pod["metadata"]["uid"], pod)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        failures, refused_until = 0, loop.time() + FIRST_SECONDS
        while True:
            try:
                if self.watches and not self._version:
                    await self._list_again()
                await self._follow()
                failures = 0
            except ApiUnavailable:
                failures += 1
            except ApiRefused as refused:
                failures += 1
                if refused.status == _GONE or refused.reason in ("Expired", "Gone"):
                    self._version, failures = "", 0
                elif refused.status in _OURS_NO_MORE and loop.time() > refused_until:
                    await self._end(refused)
                    return
            if failures:
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES)) - 1])

    async def _follow(self) -> None:
        """One watch, from where the last one ended; from the beginning it tells of every pod that there is."""
        self.watches += 1
        query = {"resourceVersion": self._version} if self._version else {}
        async for event in self._api.watch(self._path, query):
            await self._take(str(event.get("type")), event["object"])

    async def _take(self, kind: str, pod: Pod) -> None:
        metadata = pod.get("metadata", {})
        self._version = str(metadata.get("resourceVersion") or self._version)
        uid = metadata.get("uid")
        if kind == "BOOKMARK" or not isinstance(uid, str):
            return
        async with self._changed:
            if kind == "DELETED":
                self.pods.pop(uid, None)
            else:
                self.pods[uid] = pod
            self._changed.notify_all()

    async def _list_again(self) -> None:
        """What happened meanwhile is not told any more: what there is now counts, and what is not there is gone."""
        self.lists += 1
        listed = await self._api.get(self._path)
        found = {str(pod["metadata"]["uid"]): pod for pod in listed.get("items") or ()}
        async with self._changed:
            self.pods = found
            self._version = str(listed.get("metadata", {}).get("resourceVersion") or "")
            self._changed.notify_all()

    async def _end(self, refused: ApiRefused) -> None:
        async with self._changed:
            self._refused = refused
            if refused.status == 404:
                self.pods.clear()
            self._changed.notify_all()
