"""A bounded set of connections to one OPA. It knows HTTP's bytes and no policy; the deadline is its caller's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from lockgate.policy.opaserver.connection import Connection, ConnectionEnded
from lockgate.wire.response import Response


class PoolFull(Exception):
    """Temporary: as many callers wait for a connection as may."""


class PoolClosed(Exception):
    """The engine was closed."""


class Connects(Protocol):
    """Opens a connection."""

    def connect(self) -> Awaitable[Connection]: ...


class Pool:
    """At most `connections` at once, reused newest first; `waiting` callers may wait for one. Belongs to one event loop."""

    def __init__(self, dialer: Connects, *, connections: int, waiting: int) -> None:
        self._dialer, self._most_waiting = dialer, waiting
        self._room = asyncio.Semaphore(connections)
        self._idle: list[Connection] = []
        self._waiting = 0
        self._closed = False

    async def ask(self, request: bytes) -> Response:
        """Send one request and read its answer. Raises PoolFull, PoolClosed, OSError, ssl.SSLError, ResponseFault.

        It is sent a second time in one case only: on a connection kept from an earlier request, which the server had closed meanwhile, so that
        not one byte of an answer came. That is done at once and on a new connection, so it happens once and takes no longer.
        """
        if self._waiting >= self._most_waiting and self._room.locked():
            raise PoolFull
        self._waiting += 1
        try:
            await self._room.acquire()
        finally:
            self._waiting -= 1
        try:
            kept = self._kept()
            if kept is not None:
                try:
                    return await self._on(kept, request)
                except ConnectionEnded as ended:
                    if not ended.unheard:
                        raise
            self._require_open()
            return await self._on(await self._dialer.connect(), request)
        finally:
            self._room.release()

    def close(self) -> None:
        """Drop every idle connection and refuse further requests; idempotent."""
        self._closed = True
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    async def _on(self, connection: Connection, request: bytes) -> Response:
        response = await connection.ask(request)
        if connection.open:
            if self._closed:
                connection.abort()
            else:
                self._idle.append(connection)
        return response

    def _kept(self) -> Connection | None:
        self._require_open()
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        return None

    def _require_open(self) -> None:
        if self._closed:
            raise PoolClosed
