"""One kept-alive connection to an OPA: a request, its answer, the next request. It neither opens itself nor tries again."""

from __future__ import annotations

import asyncio
from typing import cast

from lockgate.wire.response import Response, ResponseFault, ResponseReader


class ConnectionEnded(ConnectionError):
    """It ended before the answer was whole. `unheard`: not one byte of the answer had come."""

    def __init__(self, *, unheard: bool) -> None:
        super().__init__(
            "the connection ended before an answer" if unheard else "the connection ended within an answer"
        )
        self.unheard = unheard


class Connection(asyncio.Protocol):
    """Belongs to one event loop; carries one request at a time. `used` says that it has answered before."""

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._heard = False
        self.open = False
        self.used = False

    async def ask(self, request: bytes) -> Response:
        """Send the bytes of one request and read its answer. Raises ConnectionEnded, ResponseFault. Cut short, the connection is gone."""
        transport = self._transport
        if transport is None or not self.open:
            raise ConnectionEnded(unheard=True)
        self._reader, self._heard = ResponseReader(self._max_body), False
        self._answer = asyncio.get_running_loop().create_future()
        try:
            transport.write(request)
            response = await self._answer
        except BaseException:
            self.abort()  # whatever may still come belongs to nobody
            raise
        finally:
            self._answer = None
        self.used = True
        if not response.keep_alive:
            self.abort()
        return response

    def abort(self) -> None:
        """Drop it at once; OPA stops an evaluation whose caller has gone."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport, self.open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        answer, reader = self._answer, self._reader
        if answer is None or reader is None or answer.done():
            self.abort()  # nobody asked for this
            return
        self._heard = True
        try:
            response = reader.feed(data)
        except ResponseFault as fault:
            answer.set_exception(fault)
            self.abort()
            return
        if response is not None:
            answer.set_result(response)

    def connection_lost(self, _error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionEnded(unheard=not self._heard))
