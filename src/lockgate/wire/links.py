"""Reading what a local process says on a socket of ours without blocking the loop; it knows no message and bounds none."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from lockgate.wire.frames import FrameError

_AT_ONCE: Final = 1 << 20


async def exactly(link: socket.socket, count: int) -> bytes:
    """`count` bytes from a non-blocking socket. Raises FrameError (`eof`) when the other end is gone before that; the caller bounds `count`."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < count:
        try:
            chunk = await loop.sock_recv(link, min(count - len(data), _AT_ONCE))
        except OSError:
            chunk = b""
        if not chunk:
            raise FrameError("eof", "the other end is gone")
        data += chunk
    return bytes(data)
