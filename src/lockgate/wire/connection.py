"""Bounds what a connection may take before anyone knows whose it is: bytes and time of a request's head, idle time, number. It must not read a body.

uvicorn bounds none of these with httptools, and a gate that can be held shut by whoever reaches its port is no gate. It also takes requests that
two readers could take for different ones: a target with an authority of its own, another transfer coding than `chunked`, headers after the body.
Here they are refused. What else smuggles (two lengths, a length beside a coding, folded headers, NUL, bare line ends) its parser refuses itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 32 << 10
_STATUS: Final = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
}


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """`head_seconds`: for a request's whole head, for what is left of a body that nobody
    waits for, and for a caller to take some of its answer. `connections`: at once, on one listener."""

    head_seconds: float = 10.0
    connections: int = 384


class _Awaits(Enum):
    HEAD = auto()
    BODY = auto()


class _Refused(Exception):
    """The request ends here; raised inside the parser's callbacks, which report it to `data_received`."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with the bounds above. A server takes a subclass with its own `bounds`, made by `bounded`."""

    bounds = ConnectionBounds()
    _awaits = _Awaits.HEAD
    _arrived = 0
    _head_size = 0
    _refusal = 400
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection; when there are too many, one that waits for nothing but its own caller makes room, or the new one goes."""
        super().connection_made(transport)
        self._wait_for_head(self.bounds.head_seconds)
        if len(self.connections) > self.bounds.connections:
            idle = [one for one in self.connections if isinstance(one, BoundedProtocol) and one.is_idle]
            # This very connection is idle too, and the youngest of them.
            min(idle, key=lambda one: one._since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever brought it."""
        self._stop_clock()
        super().connection_lost(exc)
        self.resume_writing()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered: between requests, or still in the head of one."""
        return self._awaits is _Awaits.HEAD and getattr(self.cycle, "response_complete", True)

    def data_received(self, data: bytes) -> None:
        """Bytes of the caller. A head is counted as it arrives, since the parser keeps an unfinished header however long it grows."""
        if self._awaits is _Awaits.HEAD:
            self._arrived += len(data)
        super().data_received(data)
        if self._awaits is _Awaits.HEAD and self._arrived > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refusal = 431
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._awaits = _Awaits.HEAD
        self._head_size = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. After the head it is a trailer, which would change the headers under whoever has already checked them."""
        if self._awaits is _Awaits.BODY:
            raise _Refused("a trailer")
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A whole head. A target that names a host of its own is refused: Host is what is checked."""
        if not self.url.startswith(b"/"):
            raise _Refused("a target that is no path")
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and (codings != [b"chunked"] or self.parser.get_http_version() != "1.1"):
            raise _Refused("a transfer coding that is not read here")
        self._awaits = _Awaits.BODY
        self._stop_clock()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A whole request. What follows it in the same bytes is the next one's head, which begins at nothing."""
        super().on_message_complete()
        self._awaits, self._arrived = _Awaits.HEAD, 0
        if self.cycle.response_complete:
            self._wait_for_head(self.timeout_keep_alive + self.bounds.head_seconds)

    def on_response_complete(self) -> None:
        """An answer was given. The next head, or the rest of a body that is no longer wanted, has its own time from here."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            unread = self._awaits is _Awaits.BODY
            self._wait_for_head(self.bounds.head_seconds + (0.0 if unread else self.timeout_keep_alive))

    def send_400_response(self, msg: str) -> None:
        """The refusal of what is no request; the connection ends with it."""
        head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(msg)
        self.transport.write(_STATUS[self._refusal] + head + msg.encode("ascii"))
        self.transport.close()

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD_BYTES:
            self._refusal = 431
            raise _Refused("too large a head")

    def pause_writing(self) -> None:
        """The caller takes its answers more slowly than they are made; one that takes nothing at all is given up."""
        super().pause_writing()
        if self._stalled is None:
            self._watch_stall()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _watch_stall(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(self.bounds.head_seconds, self._look_again, unsent)

    def _look_again(self, unsent: int) -> None:
        if self.transport.get_write_buffer_size() < unsent:
            self._watch_stall()
        else:
            self.transport.abort()

    def _wait_for_head(self, seconds: float) -> None:
        self._stop_clock()
        self._since = self.loop.time()
        self._deadline = self.loop.call_later(seconds, self._give_up)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        """Too late. An answer that its caller is still taking is not cut off."""
        if self._stalled is None:
            self.transport.abort()
        else:
            self._wait_for_head(self.bounds.head_seconds)


def bounded(bounds: ConnectionBounds) -> type[BoundedProtocol]:
    """The protocol with these bounds, for one listener."""
    return type("BoundedProtocol", (BoundedProtocol,), {"bounds": bounds})
