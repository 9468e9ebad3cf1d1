"""How much room a tenant's queue has, without counting it at every call; it errs on the side of refusing, and never for long."""

from __future__ import annotations

from typing import Final

from lockgate.gateway.store.port import Store, TenantLoad

COUNT_MS: Final = 250
"""How long a count is believed. Counting looks at as many queued operations as the cap allows, so it is done a few times a second."""

FAR_MS: Final = 5_000
"""As long, where less than half of the cap is taken: what was admitted since is added to the count, so that only what comes back to the queue is missed."""


class QueueRoom:
    """By tenant: when its queue was last counted (Unix ms) and how many it holds with what was admitted since."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}

    async def take(self, store: Store, tenant: str, cap: int, now: int) -> bool:
        """Reserve one place; False when `cap` are queued. Whoever does not use a place gives it back."""
        counted, queued = self._seen.get(tenant, (-FAR_MS, 0))
        if now - counted >= (FAR_MS if queued < cap // 2 else COUNT_MS):
            queued, _ = await store.read(TenantLoad(tenant, at_most=cap))
            counted = now
        free = queued < cap
        self._seen[tenant] = (counted, queued + free)
        return free

    def give_back(self, tenant: str) -> None:
        """The call was denied or refused: it is not queued."""
        counted, queued = self._seen.get(tenant, (-FAR_MS, 0))
        self._seen[tenant] = (counted, max(0, queued - 1))
