"""Watches how late the event loop is: what delays it delays every caller. It must not be what delays it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

TICK_SECONDS: Final = 0.05


async def watch_lag(note: Callable[[float], None], tick: float = TICK_SECONDS) -> None:
    """For ever: sleep `tick` seconds and `note` by how many seconds the loop came too late."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + tick
        await asyncio.sleep(tick)
        note(max(0.0, loop.time() - due))
