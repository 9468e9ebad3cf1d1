"""Accepted connections as streams, and the door for egress: TLS with a ticket, and behind it the stage's proxy; it judges no destination."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from lockgate.contract import podchannel as pod
from lockgate.runner.sandbox.port import ChannelError
from lockgate.wire.chunks import carry

MAX_AT_ONCE: Final = 64
_LIMIT: Final = 2 * pod.MAX_FRAME_BYTES


async def accepted(listener: socket.socket) -> tuple[socket.socket, str]:
    """The next connection and its address, v4 in its own form even where the listener is v6."""
    listener.setblocking(False)
    sock, place = await asyncio.get_running_loop().sock_accept(listener)
    return sock, str(place[0]).removeprefix("::ffff:")


@dataclass
class Stream:
    """A reader and its writer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def of(cls, descriptor: int) -> Stream:
        """Of a connected Unix socket."""
        return cls(*await asyncio.open_unix_connection(sock=socket.socket(fileno=descriptor), limit=_LIMIT))

    async def some(self, most: int) -> bytes:
        """What is there, at most ``most`` bytes; none at the end, however it came."""
        try:
            return await self.reader.read(most)
        except OSError:
            return b""

    async def pass_on(self, data: bytes) -> None:
        """Write; to nobody when the other side is gone."""
        with contextlib.suppress(OSError):
            self.writer.write(data)
            await self.writer.drain()

    def end(self) -> None:
        """Write no more."""
        with contextlib.suppress(OSError):
            self.writer.write_eof()

    async def close(self) -> None:
        """Flush and close."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def over_tls(sock: socket.socket, context: ssl.SSLContext) -> Stream:
    """Shake hands as the server. Raises OSError."""
    loop = asyncio.get_running_loop()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = asyncio.StreamReader(limit=_LIMIT)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=context)
    return Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


class EgressDoor:
    """Takes egress connections of one pod and passes each, as a plain stream, to the stage's proxy behind ``door``."""

    def __init__(self, ticket: bytes, context: ssl.SSLContext, door: int, peer: str, seconds: float) -> None:
        self._ticket = ticket
        self._context = context
        self._door = socket.socket(fileno=door)
        self._peer = peer
        self._seconds = seconds
        self._room = asyncio.Semaphore(MAX_AT_ONCE)

    async def serve(self, listener: socket.socket) -> None:
        """Until cancelled. Raises ChannelError when somebody else comes."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._room.acquire()
                    sock, peer = await accepted(listener)
                    if peer != self._peer:
                        sock.close()
                        raise ChannelError("wrong_peer", f"egress from {peer}")
                    group.create_task(self._one(sock)).add_done_callback(lambda _: self._room.release())
        except ExceptionGroup as several:
            named = several.subgroup(ChannelError)
            raise (named or several).exceptions[0] from None

    async def _one(self, sock: socket.socket) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                outer = await over_tls(sock, self._context)
                shown = await outer.reader.readexactly(pod.TICKET_BYTES)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            sock.close()
            return
        try:
            if not hmac.compare_digest(shown, self._ticket):
                raise ChannelError("wrong_ticket", "egress")
            ours, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(self._door, [b"+"], [theirs.fileno()])
            plain = await Stream.of(ours.detach())
            with contextlib.suppress(OSError, EOFError):
                await carry((plain.reader, plain.writer), (outer.reader, outer.writer))
            plain.writer.transport.abort()
            outer.writer.close()
        finally:
            if not outer.writer.is_closing():
                outer.writer.transport.abort()
