"""Keeps policy and catalog as their files say, each change an epoch and an audit entry; a broken file keeps what was good and says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.catalog.errors import CatalogErrors
from lockgate.gateway.catalog.watch import CatalogHolder
from lockgate.gateway.core import Core
from lockgate.gateway.errors import Refusal
from lockgate.gateway.store.port import Append, Control, ControlKind, KeepBundle, StoreError, TreeHead
from lockgate.policy.bundle import PolicyBundle, load_library
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.keeping import packed
from lockgate.policy.port import PolicyEngine, PolicyLoadError

LOG = structlog.get_logger("lockgate.gateway")
DATA_FILE = "data.yaml"


def data_file(path: Path) -> Path:
    """The policy data file that the settings' path means: itself, or `data.yaml` in it."""
    return path / DATA_FILE if path.is_dir() else path


def load_engine(path: Path) -> PolicyEngine:
    """The embedded engine with the library and this data. Blocks (compiles a module). Raises PolicyLoadError."""
    return EmbeddedEngine(load_library(data_file(path)))


@dataclass(slots=True)
class Reloader:
    """Watches the files of one gateway. `policy_error` and `catalog.last_error` say why the newest files were not taken."""

    core: Core
    catalog: CatalogHolder
    policy_path: Path
    keyset_envelope: str
    policy_error: str | None = None
    _seen: tuple[int, int, int] | None = None
    _unrecorded: bool = False

    async def record(self) -> None:
        """Make what is loaded now the recorded revisions; only a real change moves the epoch."""
        core = self.core
        if (await core.store.read(TreeHead())).size == 0:
            made = {"deployment": core.keyset.deployment, "dev": core.dev}
            await core.commit(Append((EntryDraft(EntryKind.STORE_CREATED, None, None, made),), core.clock()))
        loads: tuple[tuple[ControlKind, str, EntryKind, dict[str, Any]], ...] = (
            # The keyset itself is evidence: who verifies the log needs no other source for the keys of that time.
            (ControlKind.KEYSET, str(core.keyset.version), EntryKind.KEYSET_LOADED, {"envelope": self.keyset_envelope}),
            (ControlKind.POLICY, core.policy.revision, EntryKind.POLICY_LOADED, {}),
            (ControlKind.CATALOG, core.catalog.current.revision, EntryKind.CATALOG_LOADED, {}),
        )
        # Before the log says that it decides: what it decides can be made again from then on.
        revision, kept = await asyncio.to_thread(_kept, core.policy.bundle)
        await core.commit(KeepBundle(revision, kept, core.clock()))
        for kind, revision, entry, more in loads:
            draft = EntryDraft(entry, None, None, {"revision": revision, **more})
            await core.commit(Control(kind, revision, (draft,), core.clock()))
        await core.refresh()

    async def run(self, interval: float) -> None:
        """For ever: look every `interval` seconds; a store that cannot answer now is asked again at the next turn."""
        self._seen = await asyncio.to_thread(_stamp, data_file(self.policy_path))
        while True:
            await asyncio.sleep(interval)
            try:
                await self.look()
            except (Refusal, StoreError) as error:
                LOG.warning("reload", error=str(error))

    async def look(self) -> None:
        """One look at the files; reload what changed, and record what is not recorded yet. Raises Unavailable, StoreError; then look again."""
        self._unrecorded = await self._reload_catalog() or self._unrecorded
        self._unrecorded = await self._reload_policy() or self._unrecorded
        if self._unrecorded:
            await self.record()
            self._unrecorded = False

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

    async def _reload_policy(self) -> bool:
        stamp = await asyncio.to_thread(_stamp, data_file(self.policy_path))
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            engine = await asyncio.to_thread(load_engine, self.policy_path)
        except PolicyLoadError as error:
            self.policy_error = str(error)
            LOG.error("policy not taken; the old one stays in force", error=str(error))
            return False
        old, self.core.policy, self.policy_error = self.core.policy, engine, None
        await old.close()
        LOG.info("policy loaded", revision=engine.revision)
        return True


def _kept(bundle: PolicyBundle) -> tuple[str, bytes]:
    return bundle.revision, packed(bundle)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
