"""One watch of one namespace's pods: what the API server last said of each, and waiting for it to say something. It polls nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import structlog

from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused, ApiUnavailable
from lockgate.runner.sandbox.kubernetes.paging import PODS, whole
from lockgate.runner.sandbox.port import SandboxUnavailable

LOG = structlog.get_logger("lockgate.runner")
T = TypeVar("T")
Pod = Mapping[str, Any]
_PAUSES: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
_GONE: Final = 410
_OURS_NO_MORE: Final = (401, 403, 404)
TOLD_AFTER: Final = 5
"""Failures in a row, before anybody is told: a cut watch is nothing to tell of."""
FIRST_SECONDS: Final = 5.0
"""How long a refusal is taken for a role that the API server does not yet know of: in the beginning, and once it answers again."""


class PodWatch:
    """``pods`` holds the last word on each pod of the namespace, by uid; ``told`` of everything that changes. Start it with ``open``."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._changed = asyncio.Condition()
        self._version = ""
        self._task: asyncio.Task[None] | None = None
        self._over: ApiRefused | ApiUnavailable | None = None
        self.pods: dict[str, Pod] = {}
        self.silent: ApiUnavailable | None = None
        """Why nothing is heard since the last word; None while something is."""
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
        cannot be looked into any more, ApiUnavailable when nobody looks into it any more.
        """
        try:
            async with asyncio.timeout(seconds):
                async with self._changed:
                    while True:
                        value = found(self.pods.get(uid))
                        if value is not None:
                            return value
                        if self._over is not None:
                            raise self._over
                        await self._changed.wait()
        except TimeoutError:
            return None

    async def knows(self, pod: Pod) -> None:
        """A pod that was just made: the watch will tell of it, and until then it must not count as gone."""
        async with self._changed:
            self.pods.setdefault(pod["metadata"]["uid"], pod)

    async def _run(self) -> None:
        """Whatever ends it, those who wait are told: a watch that broke unheard would leave them waiting for ever."""
        try:
            await self._go_on()
        finally:
            why = sys.exception()
            if why is not None and not isinstance(why, asyncio.CancelledError):
                LOG.error("watch of pods broke", path=self._path, error=repr(why), exc_info=why)
            await self._end(ApiUnavailable(f"watch of {self._path}: {'ended' if why is None else repr(why)[:200]}"))

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        failures, refused_until = 0, loop.time() + FIRST_SECONDS
        while True:
            try:
                if self.watches and not self._version:
                    await self._list_again()
                await self._follow()
                failures = 0
            except (ApiUnavailable, SandboxUnavailable) as error:
                failures += 1
                refused_until = loop.time() + FIRST_SECONDS  # it may come back without its roles
                self.silent = error if isinstance(error, ApiUnavailable) else ApiUnavailable(str(error))
                if failures == TOLD_AFTER:  # its own credential cannot be read, say; it may be there again later
                    LOG.error("pods cannot be watched", path=self._path, error=str(error)[:500])
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
        self.silent, metadata = None, pod.get("metadata", {})
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
        now = await whole(self._api, self._path, PODS)
        self.silent = None
        async with self._changed:
            self.pods = {str(pod["metadata"]["uid"]): pod for pod in now.items}
            self._version = now.version
            self._changed.notify_all()

    async def _end(self, why: ApiRefused | ApiUnavailable) -> None:
        async with self._changed:
            self._over = self._over or why
            if isinstance(why, ApiRefused) and why.status == 404:
                self.pods.clear()
            self._changed.notify_all()
