"""Drops what was kept of decisions when its days are over, a little at a time; it must not touch the audit log."""

from __future__ import annotations

from typing import Final

from lockgate.gateway.core import Core
from lockgate.gateway.store.port import Forget, OldestKept

DAY_MS: Final = 24 * 3600 * 1000


async def forget(core: Core) -> bool:
    """One pass; whether anything was due. Reads two index entries where nothing is. Idempotent; raises Unavailable, StoreError."""
    now, kept = core.clock(), core.retention
    inputs_before, records_before = int(now - kept.input_days * DAY_MS), int(now - kept.record_days * DAY_MS)
    oldest_input, oldest = await core.store.read(OldestKept())
    due = (oldest_input is not None and oldest_input < inputs_before) or (
        oldest is not None and oldest < records_before
    )
    if due:
        await core.commit(Forget(inputs_before, records_before))
    return due
