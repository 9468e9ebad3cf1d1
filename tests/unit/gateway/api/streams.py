"""Reads an event stream of the front door over a real connection, an event at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.unit.gateway.api.serving import Served, headers_of

SECONDS = 30.0
"""How long an event may take; only a broken stream needs it."""


class Events:
    """An open stream; `head` is the response's head in lower case."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self._reader = reader
        self._writer = writer
        self.head = head

    async def next(self) -> dict[str, Any]:
        """The next event's document. Raises IncompleteReadError when the stream has ended."""
        async with asyncio.timeout(SECONDS):
            while True:
                line = await self._reader.readuntil(b"\n")
                if line.startswith(b"data: "):
                    document: dict[str, Any] = json.loads(line[6:])
                    return document

    async def ping(self) -> None:
        """The next comment: what keeps a silent stream alive. Raises IncompleteReadError when the stream has ended."""
        async with asyncio.timeout(SECONDS):
            while not (await self._reader.readuntil(b"\n")).startswith(b":"):
                pass

    def leave(self) -> None:
        """Go away in the middle."""
        self._writer.transport.abort()


@asynccontextmanager
async def posted(served: Served, body: dict[str, Any], token: str = "agent", **more: str) -> AsyncIterator[Events]:
    """POST a request whose answer is read as it comes."""
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    data = json.dumps(body).encode()
    headers = {
        "Host": f"{host}:{port}",
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Content-Length": str(len(data)),
        **headers_of(body),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    head = "POST /mcp HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(head.encode() + b"\r\n" + data)
    try:
        async with asyncio.timeout(SECONDS):
            answered = await reader.readuntil(b"\r\n\r\n")
        yield Events(reader, writer, answered.decode().lower())
    finally:
        writer.close()
