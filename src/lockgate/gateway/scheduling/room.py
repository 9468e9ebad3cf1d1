"""How much room a tenant's queue has, without counting it at every call; it errs on the side of refusing, and never for long."""

from __future__ import annotations

from collections import Counter
from typing import Final

from lockgate.gateway.store.port import Store, TenantLoad

COUNT_MS: Final = 250
"""How long a count is believed. Counting looks at as many queued operations as the cap allows, so it is done a few times a second."""

FAR_MS: Final = 5_000
"""As long, where less than half of the cap is taken: what was admitted since is added to the count, so that only what comes back to the queue is missed."""


class QueueRoom:
    """By tenant: when its queue was last counted (Unix ms), what was found beyond what had been taken by then, how many places were taken, and
    how many of these are of calls that are under way: a count may not see them yet, or see them already."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}
        self._taken: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()

    async def take(self, store: Store, tenant: str, cap: int, now: int) -> bool:
        """Reserve one place; False when `cap` are queued. Whoever got one says with `settle` how it ended, once."""
        if self._is_due(tenant, cap, now):
            # What others take while this one counts is in `_taken`, and so in every sum that is made afterwards.
            before = self._taken[tenant] - self._under_way[tenant]
            queued, _ = await store.read(TenantLoad(tenant, at_most=cap))
            self._counts[tenant] = (now, queued - before)
        free = self._queued(tenant) < cap
        self._taken[tenant] += free
        self._under_way[tenant] += free
        return free

    def settle(self, tenant: str, *, queued: bool) -> None:
        """The call is over: it is recorded in the queue, or its place is free again."""
        self._under_way[tenant] -= 1
        self._taken[tenant] -= not queued

    def _queued(self, tenant: str) -> int:
        return self._counts[tenant][1] + self._taken[tenant]

    def _is_due(self, tenant: str, cap: int, now: int) -> bool:
        if tenant not in self._counts:
            return True
        age = now - self._counts[tenant][0]
        # A clock that was put back makes no count younger.
        return not 0 <= age < (FAR_MS if self._queued(tenant) < cap // 2 else COUNT_MS)
