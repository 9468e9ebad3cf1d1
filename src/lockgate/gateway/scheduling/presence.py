"""Which runners were heard lately, so that a queued operation that none of them can take says so; it must not decide who gets what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lockgate.gateway.core import Core
from lockgate.gateway.doors import RunnerPeer
from lockgate.gateway.operations.transitions import note_waiting
from lockgate.gateway.store.port import QueuedOperations

HEARD_MS = 45_000
"""A poll lasts at most 30 s, and a busy runner beats more often than that."""
GRACE_MS = 5_000
"""How long an operation is queued, and this process runs, before a missing runner is worth a word."""


@dataclass(frozen=True, slots=True)
class _Heard:
    tenant: str
    region: str
    drivers: tuple[str, ...]
    at: int


class Presence:
    """What runners said they can run, and when they last spoke. `clock`: Unix ms. Kept in memory: a restart hears them anew."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._since = clock()
        self._heard: dict[str, _Heard] = {}

    def heard(self, peer: RunnerPeer, drivers: tuple[str, ...] | None = None) -> None:
        """A runner polled with `drivers`, or gave another sign of life (None: drivers as before)."""
        before = self._heard.get(peer.runner)
        known = drivers if drivers is not None else before.drivers if before is not None else None
        if known is not None:
            self._heard[peer.runner] = _Heard(peer.tenant, peer.region, known, self._clock())

    def settled(self, queued_at: int) -> bool:
        """Whether enough time has passed for a runner to have shown up."""
        return self._clock() - max(queued_at, self._since) >= GRACE_MS

    def serves(self, tenant: str, region: str, driver: str) -> bool:
        """Whether a runner that was heard lately can run `driver` there."""
        now = self._clock()
        return any(
            (item.tenant, item.region) == (tenant, region) and driver in item.drivers and now - item.at <= HEARD_MS
            for item in self._heard.values()
        )


async def note_unserved(core: Core, presence: Presence) -> None:
    """Each queued operation that waits for nothing else, and that no runner can take, says which runner is missing."""
    targets = core.catalog.current.targets
    for region in sorted({target.spec.region for target in targets.values()}):
        for operation in await core.store.read(QueuedOperations(region)):
            target = targets.get(operation.target)
            if target is None or operation.waiting_for is not None or not presence.settled(operation.updated_at):
                continue
            if not presence.serves(operation.tenant, region, target.spec.driver):
                missing = f"runner: none that has the driver {target.spec.driver} is connected in region {region}"
                await note_waiting(core, operation, missing)
