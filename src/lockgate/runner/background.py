"""Keeps work going that nobody waits for: what breaks is told and begun again. It must not end the runner, nor let anything die unheard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

LOG = structlog.get_logger("lockgate.runner")
PAUSE_SECONDS: Final = 60.0


async def keep_going(what: str, work: Callable[[], Awaitable[None]], pause: float = PAUSE_SECONDS) -> None:
    """Until ``work`` ends by itself or this is cancelled; ``what`` is its name in the log. Between two tries there are ``pause`` seconds."""
    while True:
        task = asyncio.ensure_future(work())
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        if task.cancelled() or task.exception() is None:
            return
        LOG.error("background work broke", what=what, error=repr(task.exception()), exc_info=task.exception())
        await asyncio.sleep(pause)
