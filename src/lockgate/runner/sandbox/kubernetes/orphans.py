"""Removes from time to time what dead runners of the region left in the cluster; it must not raise for what the cluster says, and remembers no more than what it told."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

import structlog

from lockgate.runner.sandbox.kubernetes import objects
from lockgate.runner.sandbox.kubernetes.api import Api, ApiRefused, ApiUnavailable
from lockgate.runner.sandbox.kubernetes.paging import listed
from lockgate.runner.sandbox.kubernetes.reaper import Found, Reaper, Verdict
from lockgate.runner.sandbox.port import SandboxUnavailable

LOG = structlog.get_logger("lockgate.runner")
ROUND_SECONDS: Final = 60.0
_GONE: Final = (404, 409)


class ApiNamespaces:
    """Implements ``reaper.Namespaces``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def run_namespaces(self) -> tuple[Sequence[Mapping[str, Any]], datetime.datetime]:
        """Every namespace with our label, and the API server's time before the first was told. Raises ApiRefused, ApiUnavailable.

        Where there are more than one list holds, the rest is left to later rounds: what this one deletes makes room.
        """
        found = await listed(self._api, "/api/v1/namespaces", {"labelSelector": f"{objects.RUN_LABEL}=true"})
        if found.asked is None:
            raise ApiUnavailable("the API server does not say what time it is")
        if not found.whole:
            LOG.error("more namespaces of attempts than are looked at in one round", looked_at=len(found.items))
        return found.items, found.asked

    async def delete_namespace(self, name: str, uid: str) -> bool:
        """Delete the one of this UID; False when it is gone, or another one has its name. Raises ApiRefused, ApiUnavailable."""
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            return await self._api.delete(f"/api/v1/namespaces/{name}", options) is not None
        except ApiRefused as refused:
            if refused.status in _GONE:
                return False
            raise


async def patrol(reaper: Callable[[], Awaitable[Reaper]], api: Api, live: Callable[[], Collection[str]]) -> None:
    """Rounds until cancelled. `live`: names of the namespaces that attempts of this process use."""
    told = Told()
    while True:
        await asyncio.sleep(ROUND_SECONDS)
        try:
            found = await (await reaper()).round(ApiNamespaces(api), live)
        except (ApiRefused, ApiUnavailable, SandboxUnavailable) as error:
            LOG.warning("orphaned namespaces not looked for", error=str(error)[:500])
            continue
        for each in found:
            told(each)


class Told:
    """Says each thing once: a stuck namespace, or one that is not ours, stays for days."""

    def __init__(self) -> None:
        self._before: set[tuple[str, Verdict]] = set()

    def __call__(self, found: Found) -> None:
        """One namespace as a round judged it."""
        if found.verdict in (Verdict.KEPT, Verdict.GOING) or (found.uid, found.verdict) in self._before:
            return
        self._before.add((found.uid, found.verdict))
        say = LOG.info if found.verdict in (Verdict.ORPHAN, Verdict.ELSEWHERE) else LOG.error
        say("namespace", name=found.name, verdict=found.verdict.value, runner=found.runner, why=found.why)
