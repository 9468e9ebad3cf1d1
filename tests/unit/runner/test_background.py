"""Work that nobody waits for: told of when it breaks, and begun again."""

from __future__ import annotations

import asyncio

import structlog

from lockgate.runner.background import keep_going


async def test_what_breaks_is_told_and_begun_again() -> None:
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise KeyError("metadata")

    with structlog.testing.capture_logs() as said:
        await keep_going("patrol", work, pause=0.0)
    assert begun == 3
    assert [(line["log_level"], line["what"], line["error"]) for line in said] == [
        ("error", "patrol", "KeyError('metadata')")
    ] * 2


async def test_work_is_ended_with_who_keeps_it_going() -> None:
    at_work, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        at_work.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    keeping = asyncio.create_task(keep_going("patrol", work))
    await at_work.wait()
    keeping.cancel()
    await asyncio.wait([keeping])
    await asyncio.wait_for(ended.wait(), 60)
    assert keeping.cancelled()
