"""Opens channel hosts and keeps the nursery that their guardians are forked from; it says nothing to any pod."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from lockgate.runner.sandbox.client import LauncherClient
from lockgate.runner.sandbox.network import delivery
from lockgate.runner.sandbox.network.host import ChannelHost
from lockgate.runner.sandbox.network.link import Patience
from lockgate.runner.sandbox.network.listen import Listen
from lockgate.runner.sandbox.port import SandboxSpec
from lockgate.runner.sandbox.profile import check_spec
from lockgate.runner.sandbox.uids import DEFAULT_LOCKS, UidRange

NURSERY: Final = "lockgate.runner.sandbox.network.nursery"
_LIFE_MARGIN_SECONDS: Final = 120


class ChannelHosts:
    """Opens a host for each stage; they share one nursery, which is started with the first (or by ``start``) and anew after its death.

    ``uids`` and ``uid_locks`` count for root only, as with bubblewrap.
    """

    def __init__(
        self,
        listen: Listen,
        uids: UidRange | None = None,
        uid_locks: Path = DEFAULT_LOCKS,
        patience: Patience | None = None,
    ) -> None:
        self._patience = patience or Patience()
        self._listen = listen
        self._uids = uids or UidRange()
        self._uid_locks = uid_locks
        self._opening = asyncio.Lock()
        self._nursery: LauncherClient | None = None
        self._hosts: dict[str, ChannelHost] = {}

    async def start(self) -> None:
        """Start the nursery if it is not running; call it before the runner loads keys. Raises SandboxUnavailable."""
        await self._client()

    async def open(self, spec: SandboxSpec) -> ChannelHost:
        """A channel that waits for its pod; listening when this returns. Raises SpecRefused, SandboxUnavailable."""
        check_spec(spec)
        delivery.check_binds(spec)
        client = await self._client()
        host, descriptors = ChannelHost.made(spec, self._listen, self._end)
        self._hosts[spec.id] = host
        order = {
            "op": "open",
            "id": spec.id,
            "stage": spec.stage,
            "patience": asdict(self._patience),
            "seconds": int(spec.limits.wall_seconds) + _LIFE_MARGIN_SECONDS,
            "egress": asdict(spec.egress) if spec.egress is not None else None,
        }
        try:
            await client.ask(order, descriptors)
        except BaseException:
            await host.close()
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return host

    async def close(self) -> None:
        """Close every host and end the nursery; idempotent."""
        for host in list(self._hosts.values()):
            await host.close()
        client, self._nursery = self._nursery, None
        if client is not None:
            await client.close()

    async def _client(self) -> LauncherClient:
        async with self._opening:
            if self._nursery is None or not self._nursery.alive:
                client = LauncherClient(self._heard, lambda: None, NURSERY)
                await client.open()
                uids = {"uid_base": self._uids.base, "uid_count": self._uids.count, "uid_locks": str(self._uid_locks)}
                try:
                    await client.ask({"op": "configure"} | uids)
                except BaseException:
                    await client.close()
                    raise
                self._nursery = client
            return self._nursery

    def _heard(self, event: dict[str, Any]) -> None:
        host = self._hosts.get(event["id"])
        if host is not None and event["who"] == "warden" and not event["well"]:
            host.stop_soon("channel")

    async def _end(self, spec_id: str) -> None:
        if self._hosts.pop(spec_id, None) is not None and self._nursery is not None and self._nursery.alive:
            await self._nursery.ask({"op": "end", "id": spec_id})
