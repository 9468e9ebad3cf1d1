"""Where an OPA listens and how one connects to it: a Unix socket, or TLS 1.3 with one pinned CA. It sends nothing."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lockgate.keys.tls import TlsFiles, pinned_client
from lockgate.policy.opaserver.connection import Connection

MAX_SOCKET_PATH = 107


class EndpointInvalid(ValueError):
    """The URL of an OPA cannot stand; says what it must be."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One OPA. Either `socket` is set, or `host` and `port` are; a proxy is never used, whatever the environment says."""

    socket: Path | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """`unix:///path/of.sock` or `https://host[:port]`, and nothing more. Raises EndpointInvalid."""
        parts = urlsplit(url)
        if parts.scheme == "unix":
            if parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
                raise EndpointInvalid("must be unix:// and the absolute path of a socket: unix:///run/opa/opa.sock")
            if len(parts.path.encode()) > MAX_SOCKET_PATH:
                raise EndpointInvalid(f"the path of a Unix socket has at most {MAX_SOCKET_PATH} bytes")
            return cls(socket=Path(parts.path))
        try:
            port = parts.port
        except ValueError:
            raise EndpointInvalid("its port must be 1 to 65535") from None
        plain = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
        if parts.scheme != "https" or not parts.hostname or not plain or port == 0:
            raise EndpointInvalid("must be unix:///path/of.sock or https://host[:port], and nothing more")
        return cls(host=parts.hostname, port=port or 443)

    @property
    def authority(self) -> str:
        """What stands in the Host header."""
        if self.socket is not None:
            return "localhost"
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{name}:{self.port}"


class Dialer:
    """Opens connections to one endpoint. `files` are the TLS files of an https endpoint, read once."""

    def __init__(self, endpoint: Endpoint, files: TlsFiles | None, *, max_body: int, dev: bool = False) -> None:
        """Raises EndpointInvalid without the files that TLS needs, KeyFileError for files that cannot be used."""
        self.endpoint, self._max_body = endpoint, max_body
        self._context: ssl.SSLContext | None = None
        if endpoint.socket is None:
            if files is None:
                raise EndpointInvalid("https needs certificate, key and ca: OPA and gateway know each other by them")
            self._context = pinned_client(files, dev=dev)

    async def connect(self) -> Connection:
        """A new connection. Raises OSError; ssl.SSLError where the other side is not who it must be."""
        loop = asyncio.get_running_loop()
        make = self._connection
        if self.endpoint.socket is not None:
            _, connection = await loop.create_unix_connection(make, str(self.endpoint.socket))
        else:
            host = self.endpoint.host
            _, connection = await loop.create_connection(
                make, host, self.endpoint.port, ssl=self._context, server_hostname=host
            )
        return connection

    def _connection(self) -> Connection:
        return Connection(self._max_body)
