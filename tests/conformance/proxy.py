"""A header-adding proxy: every request on its way gets the bearer token, because the conformance suite sends none; no other byte is touched.

Answers are passed on as they come, so streams are the product's own; a client that leaves is seen to leave.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

MAX_HEAD = 64 << 10


@contextlib.asynccontextmanager
async def header_adding_proxy(port: int, token: str) -> AsyncIterator[int]:
    """Serve on a loopback port of its own in front of `port`; yields that port."""
    added = b"Authorization: Bearer " + token.encode()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", port)
        back = asyncio.create_task(_answers(there, writer))
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await _request(reader, out, added)
        out.close()
        await back
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=MAX_HEAD)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, added: bytes) -> None:
    """Pass one request on, with a header more. Raises IncompleteReadError when the client has left."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head[:-4].split(b"\r\n")
    writer.write(b"\r\n".join([*lines, added, b"", b""]))
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        while await _chunk(reader, writer):
            pass
    else:
        writer.write(await reader.readexactly(int(fields.get(b"content-length", b"0"))))
    await writer.drain()


async def _chunk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Pass one chunk on; False for the last."""
    size = await reader.readline()
    length = int(size.split(b";")[0], 16)
    writer.write(size + await reader.readexactly(length + 2))
    return length > 0


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(64 << 10):
            writer.write(data)
            await writer.drain()
    writer.close()
