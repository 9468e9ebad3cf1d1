"""The runner's HTTP client to the gateway: JSON over mTLS with deadlines; it must not follow redirects, use a proxy, or retry on its own."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from lockgate.contract import strictjson
from lockgate.keys.pki import GATEWAY_NAME
from lockgate.wire.response import Response, ResponseFault, ResponseReader

MAX_BODY_BYTES: Final = 16 << 20
"""The most that is sent or read in one body; an answer beyond it is refused while it arrives."""

MAX_JSON_DEPTH: Final = 64
IDLE_SECONDS: Final = 30.0
MAX_IDLE: Final = 4
_READ_CHUNK: Final = 1 << 16
ENDS: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
GARBLED: Final = frozenset(
    {"DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "WRONG_VERSION_NUMBER", "TLSV1_ALERT_INTERNAL_ERROR"}
)
"""Reasons of OpenSSL's that say nothing of trust: bytes were changed on the way, no TLS answered (a proxy without a gateway), the other side is in trouble."""


class GatewayUnavailable(Exception):
    """Temporary: the gateway could not be reached or could not answer; the same call may be made again after `retry_after` seconds.

    `sent` is False only when certainly no part of the request left this machine.
    """

    def __init__(self, message: str, *, sent: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.sent = sent
        self.retry_after = retry_after


class GatewayRefused(Exception):
    """The gateway said no, or what answers is not our gateway: the same call will fail again until somebody changes something. `code` is stable.

    `said`: the gateway itself said so, in its own words, which name the faulty `field`. Without it (no trust by TLS, another's page, no JSON) nothing
    is known of what the gateway would say; who may not lose its word asks again.
    """

    def __init__(
        self, code: str, message: str, status: int | None = None, *, said: bool = False, field: str = ""
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.said = said
        self.field = field


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.idle_since = 0.0

    def usable(self, now: float) -> bool:
        """Whether nothing came (an answer nobody asked for, or the end) while it was idle for a short time only."""
        closed = self.reader.at_eof() or self.writer.is_closing()
        return not closed and now - self.idle_since < IDLE_SECONDS

    def abort(self) -> None:
        """Drop it at once, without waiting for the other side."""
        self.writer.transport.abort()


class GatewayClient:
    """Posts documents to one gateway. `url` is `https://host[:port]`; the certificate is checked for `server_name`, not for the host.

    At most as many connections as calls at the same time; up to four stay open between calls. Belongs to one event loop.
    """

    def __init__(self, url: str, context: ssl.SSLContext, *, server_name: str = GATEWAY_NAME) -> None:
        self._host, self._port = _address(url)
        self._context = context
        self._server_name = server_name
        self._idle: list[_Connection] = []
        self._closed = False

    async def post(self, path: str, document: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """POST a JSON object to `path` and read the JSON object that answers, all within `timeout` seconds.

        Raises GatewayUnavailable, GatewayRefused; ValueError when the document is no JSON or larger than 16 MiB.
        """
        request = self._request(path, document)
        progress = _Progress()
        try:
            async with asyncio.timeout(timeout):
                response = await self._exchange(request, progress)
        except TimeoutError:
            raise GatewayUnavailable(f"no answer within {timeout:g} s", sent=progress.sent) from None
        except ssl.SSLError as error:
            raise _broken(error, progress) from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise GatewayUnavailable(
                f"connection failed: {type(error).__name__}: {error}", sent=progress.sent
            ) from None
        except ResponseFault as fault:
            raise GatewayRefused("bad_response", str(fault)) from None
        return _document(response)

    async def close(self) -> None:
        """Drop every idle connection and refuse further calls; idempotent."""
        self._closed = True
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    def _request(self, path: str, document: Mapping[str, Any]) -> bytes:
        if (
            not path.startswith("/")
            or not path.isascii()
            or not path.isprintable()
            or any(char in path for char in " #?")
        ):
            raise ValueError(f"path {path[:100]!r}: must be a plain absolute path")
        body = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"the request is {len(body)} bytes; at most {MAX_BODY_BYTES} are sent")
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {self._server_name}\r\ncontent-type: application/json\r\n"
            f"accept: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def _exchange(self, request: bytes, progress: _Progress) -> Response:
        if self._closed:
            raise GatewayUnavailable("this client was closed", sent=False)
        connection = self._take() or await self._connect()
        kept = False
        try:
            progress.sent = True
            connection.writer.write(request)
            await connection.writer.drain()
            response = await _read(connection.reader)
            kept = response.keep_alive and self._keep(connection)
        finally:
            if not kept:
                connection.abort()
        return response

    def _keep(self, connection: _Connection) -> bool:
        if self._closed or len(self._idle) >= MAX_IDLE:
            return False
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        return True

    def _take(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable(now):
                return connection
            connection.abort()
        return None

    async def _connect(self) -> _Connection:
        reader, writer = await asyncio.open_connection(
            self._host, self._port, ssl=self._context, server_hostname=self._server_name, limit=_READ_CHUNK
        )
        return _Connection(reader, writer)


class _Progress:
    sent = False


async def _read(reader: asyncio.StreamReader) -> Response:
    parser = ResponseReader(MAX_BODY_BYTES)
    while True:
        data = await reader.read(_READ_CHUNK)
        if not data:
            raise ConnectionResetError(parser.cut_short)
        response = parser.feed(data)
        if response is not None:
            return response


def _broken(error: ssl.SSLError, progress: _Progress) -> GatewayRefused | GatewayUnavailable:
    """What a failed TLS means: no trust, of ours or by the other side's alert, or only a line that ended or garbled what it carried."""
    why = error.reason or type(error).__name__
    if isinstance(error, ENDS) or why in GARBLED:
        return GatewayUnavailable(f"the TLS connection broke: {why}", sent=progress.sent)
    # In TLS 1.3 the alert of a refused client certificate shows only when the answer is read.
    return GatewayRefused("tls", f"the TLS connection was refused: {why}")


def _document(response: Response) -> dict[str, Any]:
    try:
        value = strictjson.loads(response.body, max_bytes=MAX_BODY_BYTES, max_depth=MAX_JSON_DEPTH)
    except strictjson.StrictJSONError as error:
        value = None
        if response.status < 300:
            raise GatewayRefused("bad_response", f"the answer is not strict JSON: {error}", response.status) from None
    document = value if isinstance(value, dict) else {}
    if 200 <= response.status < 300:
        if not isinstance(value, dict):
            raise GatewayRefused("bad_response", "the answer is not a JSON object", response.status)
        return document
    raise _refusal(response.status, document)


def _refusal(status: int, document: dict[str, Any]) -> GatewayRefused | GatewayUnavailable:
    message = str(document.get("message") or f"HTTP status {status}")[:2000]
    after = document.get("retry_after_seconds")
    if status >= 500 or status in (408, 425, 429) or document.get("retry") is True:
        wait = float(after) if isinstance(after, int | float) and 0 <= after <= 3600 else None
        return GatewayUnavailable(f"status {status}: {message}", sent=True, retry_after=wait)
    code, field = document.get("code"), str(document.get("field") or "")[:100]
    return GatewayRefused(str(code or f"http_{status}")[:100], message, status, said=bool(code), field=field)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or "@" in parts.netloc:
        raise ValueError(f"gateway URL {url[:200]!r}: must be https://host[:port] and nothing more")
    if parts.query or parts.fragment:
        raise ValueError(f"gateway URL {url[:200]!r}: must be https://host[:port] and nothing more")
    return parts.hostname, parts.port or 443
