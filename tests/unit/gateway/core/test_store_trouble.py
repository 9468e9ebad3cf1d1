"""A store that cannot answer for a while: what runs in the background tries again, and forgets nothing meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.gate import Gate
from tests.invariants.keepers import library_keeper
from tests.invariants.parties import CATALOG

from lockgate.contract.drivers import declarations
from lockgate.gateway import app
from lockgate.gateway.catalog.watch import CatalogHolder
from lockgate.gateway.reloading import Reloader
from lockgate.gateway.scheduling.presence import Presence
from lockgate.gateway.store.port import AuditEntries, Control, ControlKind, StoreError
from lockgate.policy.bundle import LIBRARY


async def first(task: asyncio.Task[None], happened: asyncio.Event) -> None:
    """Wait until it has happened; the task must not have ended before."""
    waiting = asyncio.create_task(happened.wait())
    await asyncio.wait({task, waiting}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert not task.done()
    assert happened.is_set()


@pytest.fixture
async def running() -> AsyncIterator[list[asyncio.Task[None]]]:
    """Tasks of a test, ended with it."""
    tasks: list[asyncio.Task[None]] = []
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_sweep_goes_on_after_a_read_that_failed(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, running: list[asyncio.Task[None]]
) -> None:
    operation = await gate.ask()
    await gate.runner().take()
    gate.clock.advance(gate.core.timing.lease + 1)
    read, commit, failures, moved = gate.store.read, gate.store.commit, [], asyncio.Event()  # type: ignore[var-annotated]

    async def failing(query: Any) -> Any:
        if len(failures) < 2:
            failures.append(query)
            raise StoreError("the disk is away")
        return await read(query)

    async def noticed(command: Any) -> Any:
        outcome = await commit(command)
        moved.set()
        return outcome

    monkeypatch.setattr(gate.store, "read", failing)
    monkeypatch.setattr(gate.store, "commit", noticed)
    monkeypatch.setattr(app, "SWEEP_SECONDS", 0.001)
    running.append(asyncio.create_task(app.sweeping(gate.core, Presence(gate.clock))))
    await first(running[0], moved)
    assert len(failures) == 2
    assert (await gate.operation(operation)).state.value == "queued"


async def test_a_reload_that_could_not_be_recorded_is_recorded_at_the_next_turn(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: list[asyncio.Task[None]]
) -> None:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "all.yaml").write_text(CATALOG)
    (tmp_path / "data.yaml").write_text(LIBRARY.joinpath("data.default.yaml").read_text("utf-8"))
    gate.core.catalog = holder = CatalogHolder(tmp_path / "catalog", declarations())
    keeper = library_keeper(tmp_path)
    await keeper.begin()
    gate.core.policy = keeper.in_force
    reloader = Reloader(gate.core, holder, keeper, gate.keys.keyset_envelope.decode())
    await reloader.record()
    commit, failures, recorded = gate.store.commit, [], asyncio.Event()  # type: ignore[var-annotated]

    async def failing(command: Any) -> Any:
        if len(failures) < 2:
            failures.append(command)
            raise StoreError("the disk is full")
        outcome = await commit(command)
        if isinstance(command, Control) and command.kind is ControlKind.CATALOG:
            recorded.set()
        return outcome

    monkeypatch.setattr(gate.store, "commit", failing)
    (tmp_path / "catalog" / "all.yaml").write_text(CATALOG.replace("maximum: 20}", "maximum: 19}"))
    running.append(asyncio.create_task(reloader.run(0.001)))
    await first(running[0], recorded)
    assert len(failures) == 2
    loaded = [entry.body for entry in await gate.store.read(AuditEntries()) if entry.kind == "catalog.loaded"]
    assert loaded[-1] == {"revision": holder.current.revision}
    await gate.core.policy.close()
