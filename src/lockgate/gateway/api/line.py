"""One request's way back to its client: one JSON document, or an event stream once something is sent before the answer; it must not know MCP."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.types import Receive, Send

from lockgate.gateway.api.answers import Headers, encode, send_json

SEND_SECONDS: Final = 10.0
"""How long a client may take to read what is sent on a stream before it counts as gone."""

_STREAM: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class ClientGone(Exception):
    """The client left, or stopped reading; nobody is there to be answered."""


class Line:
    """Made for every request, so it costs nothing until it is used for more than one answer. `events`: the client reads event streams."""

    __slots__ = ("_gone", "_receive", "_send", "_streaming", "events")

    def __init__(self, receive: Receive, send: Send, *, events: bool) -> None:
        self.events = events
        self._receive = receive
        self._send = send
        self._streaming = False
        self._gone: asyncio.Task[None] | None = None

    def gone(self) -> asyncio.Task[None]:
        """Done when the client has left. Only for a request whose body was read whole; `close` ends the watching."""
        if self._gone is None:
            self._gone = asyncio.ensure_future(self._watch())
        return self._gone

    @property
    def left(self) -> bool:
        """Whether the client was seen to leave."""
        return self._gone is not None and self._gone.done()

    async def event(self, document: dict[str, Any]) -> None:
        """Send a document ahead of the answer, as an event; the first one opens the stream. Raises ClientGone.

        From then on the task that serves the request is cancelled when the client leaves.
        """
        if not self.events:
            raise RuntimeError("this client reads no event stream")
        if not self._streaming:
            self._streaming = True
            task = asyncio.current_task()
            self.gone().add_done_callback(lambda watch: None if watch.cancelled() or task is None else task.cancel())
            await self._bounded({"type": "http.response.start", "status": 200, "headers": list(_STREAM)})
        await self._write(b"event: message\r\ndata: " + encode(document) + b"\r\n\r\n")

    async def ping(self) -> None:
        """Keep an open stream alive through proxies that end silent ones. Raises ClientGone."""
        await self._write(b":\r\n\r\n")

    async def answer(self, status: int, document: dict[str, Any] | None, headers: Headers = ()) -> None:
        """The one answer, which ends the response; on a stream it is the last event, whatever `status` is. Raises ClientGone."""
        if not self._streaming:
            await send_json(self._send, status, document, headers, empty=document is None)
            return
        await self._write(b"event: message\r\ndata: " + encode(document) + b"\r\n\r\n")
        await self._bounded({"type": "http.response.body", "body": b"", "more_body": False})

    def close(self) -> None:
        """Stop watching for the client; always called at the end."""
        if self._gone is not None:
            self._gone.cancel()

    async def _write(self, data: bytes) -> None:
        await self._bounded({"type": "http.response.body", "body": data, "more_body": True})

    async def _bounded(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(message)
        except TimeoutError:
            raise ClientGone("the client stopped reading") from None

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
