"""One stream within another that cannot be half closed, as TLS cannot: chunks of at most 64 KiB behind their length, none at the end of a direction.

Both ends of an egress connection use it; it must not judge or keep what passes.
"""

from __future__ import annotations

import asyncio
from typing import Final

LENGTH_BYTES: Final = 2
MAX_CHUNK: Final = 0xFFFF


async def carry(
    plain: tuple[asyncio.StreamReader, asyncio.StreamWriter], wrapped: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """Bytes of ``plain`` as chunks on ``wrapped`` and back, until both directions have ended. Raises OSError, EOFError when either side breaks off."""
    pumps = [asyncio.ensure_future(_wrap(plain[0], wrapped[1])), asyncio.ensure_future(_unwrap(wrapped[0], plain[1]))]
    try:
        await asyncio.gather(*pumps)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _wrap(plain: asyncio.StreamReader, wrapped: asyncio.StreamWriter) -> None:
    while True:
        chunk = await plain.read(MAX_CHUNK)
        wrapped.write(len(chunk).to_bytes(LENGTH_BYTES, "big") + chunk)
        await wrapped.drain()
        if not chunk:
            return


async def _unwrap(wrapped: asyncio.StreamReader, plain: asyncio.StreamWriter) -> None:
    while length := int.from_bytes(await wrapped.readexactly(LENGTH_BYTES), "big"):
        plain.write(await wrapped.readexactly(length))
        await plain.drain()
    plain.write_eof()
