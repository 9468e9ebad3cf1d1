"""Reads one HTTP/1.1 response from bytes as they arrive, within bounds; it must not interpret the body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httptools

MAX_HEAD_BYTES: Final = 32 << 10


class ResponseFault(ValueError):
    """What answered does not speak HTTP as our gateway does, or says more than is read."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    status: int
    body: bytes
    keep_alive: bool


class ResponseReader:
    """Feed bytes until a Response comes back. The body ends by its length or its last chunk, never by the connection's end."""

    def __init__(self, max_body: int) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._max_body = max_body
        self._body = bytearray()
        self._head = 0
        self._in_body = False
        self._response: Response | None = None

    @property
    def cut_short(self) -> str:
        """What to say when the connection ends now."""
        if self._head:
            return "the gateway closed the connection before its answer was complete"
        return "the gateway closed the connection without an answer; if it stays so, it does not accept this runner's certificate"

    def feed(self, data: bytes) -> Response | None:
        """Take the next bytes; the response once it is whole. Raises ResponseFault."""
        if not self._in_body:
            self._head += len(data)
            # The chunk that ends the head may hold much body; only what is certainly head is held against the bound.
            if self._head - len(data) > MAX_HEAD_BYTES:
                raise ResponseFault(f"the answer's head is larger than {MAX_HEAD_BYTES} bytes")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise ResponseFault("the answer is not HTTP: it asks for another protocol") from None
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, ResponseFault):
                raise error.__context__ from None
            raise ResponseFault("the answer is not HTTP") from None
        except httptools.HttpParserError:
            raise ResponseFault("the answer is not HTTP") from None
        return self._response

    def on_headers_complete(self) -> None:
        """Called by the parser at the end of the head."""
        self._in_body = True
        if self._parser.get_status_code() < 200:
            raise ResponseFault("an interim answer was not asked for")

    def on_body(self, body: bytes) -> None:
        """Called by the parser for each piece of body."""
        if len(self._body) + len(body) > self._max_body:
            raise ResponseFault(f"the answer is larger than {self._max_body} bytes")
        self._body += body

    def on_message_complete(self) -> None:
        """Called by the parser at the end of the body."""
        if self._response is not None:
            raise ResponseFault("more than one answer came")
        status = self._parser.get_status_code()
        self._response = Response(status, bytes(self._body), self._parser.should_keep_alive())
