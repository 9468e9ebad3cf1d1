"""kill -9 and full disks, with real processes and a real file."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lockgate.contract.merkle import root_of
from lockgate.gateway.audit.sources import Trust, verify_file
from lockgate.gateway.store.port import Append, Done, GetOperation, LeafHashes, StoreError, StoreLocked, TreeHead
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.testing.records import NOW, admit, entry, operation

CHILD = Path(__file__).with_name("crash_child.py")


def start(path: Path, tag: str, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, CHILD, path, tag, mode], stdout=subprocess.PIPE, text=True)


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    await store.migrate()
    return store


@pytest.mark.slow
async def test_whatever_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """Invariant 6. The child is killed right behind an acknowledgement: everything it printed must be there."""
    path = tmp_path / "s" / "store.db"
    acknowledged: list[str] = []
    for round_number in range(5):
        child = start(path, f"r{round_number}", "commit")
        assert child.stdout is not None
        for _ in range(25 + 40 * round_number):
            line = await asyncio.to_thread(child.stdout.readline)
            assert line.endswith("\n")
            acknowledged.append(line.strip())
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += [line for line in child.stdout.read().split("\n")[:-1] if line]
        assert child.wait() == -signal.SIGKILL
        child.stdout.close()
        store = await opened(path)
        for name in acknowledged:
            assert await store.read(GetOperation(name)) == operation(name)
        head = await store.read(TreeHead())
        assert head.size >= 2 * len(acknowledged)
        assert root_of(await store.read(LeafHashes(0, head.size))) == head.root
        await store.close()
    assert verify_file(path, Trust()).ok


async def test_a_second_process_is_refused_and_told_who_holds_the_store(tmp_path: Path) -> None:
    path = tmp_path / "s" / "store.db"
    child = start(path, "first", "commit")
    assert child.stdout is not None
    await asyncio.to_thread(child.stdout.readline)
    with pytest.raises(StoreLocked, match=f"process {child.pid} "):
        await opened(path)
    child.kill()
    child.wait()
    child.stdout.close()
    await (await opened(path)).close()


async def test_a_write_that_fails_leaves_the_store_intact_and_refusing(tmp_path: Path) -> None:
    path = tmp_path / "s" / "store.db"
    child = start(path, "", "fill")
    out, _ = await asyncio.to_thread(child.communicate)
    assert child.returncode == 0
    first, second = out.splitlines()
    kept = int(first.split()[0])
    assert kept >= 1
    assert "restart" in first
    assert second.startswith("refused True")
    assert "restart" in second
    store = await opened(path)
    head = await store.read(TreeHead())
    assert kept <= head.size <= kept + 1
    assert root_of(await store.read(LeafHashes(0, head.size))) == head.root
    assert isinstance(await store.commit(Append((entry(),), NOW)), Done)
    await store.close()
    assert verify_file(path, Trust()).ok


async def test_a_full_disk_passes_and_then_writing_goes_on(tmp_path: Path) -> None:
    store = await opened(tmp_path / "s" / "store.db")
    database = store._open.db  # type: ignore[union-attr]
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(StoreError, match=r"nothing was written.*full"):
        for _ in range(20):
            await store.commit(Append((entry(text="x" * 20_000),), NOW))
    assert store.failure is None
    before = await store.read(TreeHead())
    database.execute("PRAGMA max_page_count = 1000000")
    outcome = await store.commit(admit(operation("op"), epoch=1))
    assert isinstance(outcome, Done)
    assert outcome.tree_size == before.size + 2
    head = await store.read(TreeHead())
    assert root_of(await store.read(LeafHashes(0, head.size))) == head.root
    await store.close()
