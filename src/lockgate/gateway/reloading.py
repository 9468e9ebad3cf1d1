"""Keeps policy and catalog as their sources say, each change an epoch and an audit entry; a broken file keeps what was good and says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.catalog.errors import CatalogErrors
from lockgate.gateway.catalog.watch import CatalogHolder
from lockgate.gateway.core import Core
from lockgate.gateway.errors import Refusal
from lockgate.gateway.policykeeping import PolicyKeeper
from lockgate.gateway.store.port import Append, Control, ControlKind, StoreError, TreeHead

LOG = structlog.get_logger("lockgate.gateway")


@dataclass(slots=True)
class Reloader:
    """Watches what one gateway was given. `policy.error` and `catalog.last_error` say why the newest was not taken."""

    core: Core
    catalog: CatalogHolder
    policy: PolicyKeeper
    keyset_envelope: str
    _unrecorded: bool = False

    async def record(self) -> None:
        """Make what is loaded now the recorded revisions; only a real change moves the epoch."""
        core = self.core
        if (await core.store.read(TreeHead())).size == 0:
            made = {"deployment": core.keyset.deployment, "dev": core.dev}
            await core.commit(Append((EntryDraft(EntryKind.STORE_CREATED, None, None, made),), core.clock()))
        # The keyset itself is evidence: who verifies the log needs no other source for the keys of that time.
        keyset = {"revision": str(core.keyset.version), "envelope": self.keyset_envelope}
        await self._record(ControlKind.KEYSET, EntryKind.KEYSET_LOADED, keyset)
        await self.policy.record(core)
        await self._record(ControlKind.CATALOG, EntryKind.CATALOG_LOADED, {"revision": self.catalog.current.revision})
        await core.refresh()

    async def run(self, interval: float) -> None:
        """For ever: look every `interval` seconds; a store that cannot answer now is asked again at the next turn."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.look()
            except (Refusal, StoreError) as error:
                LOG.warning("reload", error=str(error))

    async def look(self) -> None:
        """One look at the catalog; reload what changed, and record what is not recorded yet. Raises Unavailable, StoreError; then look again."""
        self._unrecorded = await self._reload_catalog() or self._unrecorded
        if self._unrecorded:
            await self.record()
            self._unrecorded = False

    async def _record(self, kind: ControlKind, entry: EntryKind, body: dict[str, str]) -> None:
        draft = EntryDraft(entry, None, None, body)
        await self.core.commit(Control(kind, body["revision"], (draft,), self.core.clock()))

    async def _reload_catalog(self) -> bool:
        if not await asyncio.to_thread(self.catalog.changed):
            return False
        try:
            await asyncio.to_thread(self.catalog.reload)
        except CatalogErrors as errors:
            LOG.error("catalog not taken; the old one stays in force", errors=[str(error) for error in errors.errors])
            return False
        LOG.info("catalog loaded", revision=self.catalog.current.revision)
        return True
