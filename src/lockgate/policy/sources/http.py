"""A bundle server over HTTP(S): one GET a look, answered from memory by ETag. It follows no redirect, uses no proxy and never waits longer than its deadline."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from lockgate.keys.privatefile import KeyFileError, check_closed, read_private
from lockgate.policy.bundles.archive import MAX_ARCHIVE_BYTES, unpack
from lockgate.policy.sources.port import Fetched, SourceUnavailable
from lockgate.wire.response import Response, ResponseFault, ResponseReader

MAX_ETAG: Final = 256
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class BundleServer:
    """Where and how to ask. `ca` pins who may sign the server's certificate; without it the machine's own authorities do.

    `certificate` and `key` show who we are, or the token in `token_file`; `deadline` is seconds for one whole answer.
    """

    url: str
    deadline: float = 10.0
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token_file: Path | None = None


class HttpSource:
    """Asks one URL. Key and token are read again at each look, so that they can be replaced."""

    def __init__(self, server: BundleServer, *, dev: bool = False) -> None:
        """Nothing is asked yet. Raises ValueError for what is no http(s) URL."""
        parts = urlsplit(server.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.fragment:
            raise ValueError("must be http(s)://host[:port]/path, without a user or a fragment")
        self._server, self._dev = server, dev
        self._host, self._secure = parts.hostname, parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._authority = parts.netloc
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not self._path.isascii() or not self._path.isprintable() or " " in self._path:
            raise ValueError("its path must be of printable ASCII")
        self._etag: str | None = None
        self._digest: bytes | None = None

    @property
    def name(self) -> str:
        """The URL without its query, which may hold a secret."""
        return self._server.url.partition("?")[0]

    def forget(self) -> None:
        """See BundleSource.forget."""
        self._etag = self._digest = None

    async def look(self) -> Fetched | None:
        """See BundleSource.look."""
        try:
            async with asyncio.timeout(self._server.deadline):
                head, response = await self._exchange(await asyncio.to_thread(self._request))
        except TimeoutError:
            raise self._unavailable(f"did not answer within {self._server.deadline:g} s") from None
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "closed"
            raise self._unavailable(f"the TLS connection was refused: {reason}") from None
        except ResponseFault as fault:
            raise self._unavailable(str(fault)) from None
        except KeyFileError as error:
            raise self._unavailable(str(error)) from None
        except OSError as error:
            raise self._unavailable(f"cannot be reached: {type(error).__name__}: {error.strerror or error}") from None
        return await self._bundle(head, response)

    async def _bundle(self, etag: str | None, response: Response) -> Fetched | None:
        status = response.status
        if status == 304 and self._etag is not None:
            return None
        if status == 304:
            raise self._unavailable("says 304 to a question that named no version")
        if 300 <= status < 400:
            raise self._unavailable(f"answers {status}: a redirect is not followed; set policy.url to where it leads")
        if status != 200:
            raise self._unavailable(f"answers {status}")
        digest = hashlib.sha256(response.body).digest()
        known, self._etag, self._digest = self._digest == digest, etag, digest
        if known:
            return None  # an ETag may change without the bundle, and a server may know none
        return Fetched(self.name, await asyncio.to_thread(unpack, response.body, self.name))

    def _request(self) -> tuple[bytes, ssl.SSLContext | None]:
        lines = [
            f"GET {self._path} HTTP/1.1",
            f"host: {self._authority}",
            "accept: application/gzip",
            "connection: close",
        ]
        lines += ["accept-encoding: identity", "user-agent: lockgate"]
        if self._etag is not None:
            lines.append(f"if-none-match: {self._etag}")
        if self._server.token_file is not None:
            lines.append(f"authorization: Bearer {self._token(self._server.token_file)}")
        return "\r\n".join([*lines, "", ""]).encode(), self._context()

    def _token(self, path: Path) -> str:
        token = read_private(path, dev=self._dev).decode("ascii", "replace").strip()
        if not token or not token.isprintable() or " " in token or not token.isascii():
            raise KeyFileError(path, "must hold one bearer token")
        return token

    def _context(self) -> ssl.SSLContext | None:
        server = self._server
        if not self._secure:
            return None
        context = ssl.create_default_context(cafile=str(server.ca) if server.ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if server.certificate is not None and server.key is not None:
            if not self._dev:
                check_closed(server.key)
            # An encrypted key must fail here rather than ask a terminal.
            context.load_cert_chain(str(server.certificate), str(server.key), password=lambda: b"")
        return context

    async def _exchange(self, request: tuple[bytes, ssl.SSLContext | None]) -> tuple[str | None, Response]:
        sent, context = request
        reader, writer = await asyncio.open_connection(
            self._host, self._port, ssl=context, server_hostname=self._host if context else None, limit=_CHUNK
        )
        try:
            writer.write(sent)
            await writer.drain()
            return await _read(reader)
        finally:
            writer.transport.abort()

    def _unavailable(self, problem: str) -> SourceUnavailable:
        return SourceUnavailable(f"{self.name}: {problem}")


class _HeadReader(ResponseReader):
    """A ResponseReader that keeps the ETag."""

    etag: str | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header."""
        if name.lower() == b"etag":
            text = value.decode("latin-1")
            usable = len(text) <= MAX_ETAG and text.isascii() and text.isprintable()
            self.etag = text if usable else None


async def _read(reader: asyncio.StreamReader) -> tuple[str | None, Response]:
    parser = _HeadReader(MAX_ARCHIVE_BYTES)
    while data := await reader.read(_CHUNK):
        response = parser.feed(data)
        if response is not None:
            return parser.etag, response
    raise ResponseFault("the connection ended before the answer was whole")
