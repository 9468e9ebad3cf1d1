"""Shows the application the client certificate that TLS verified, in the ASGI scope; it must never take an identity from a header."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final

import uvicorn

from lockgate.wire.connection import BoundedProtocol

EXTENSION: Final = "lockgate.peer_certificate"
KEEP_ALIVE_SECONDS: Final = 75
"""How long the gateway keeps a runner's idle connection; the client gives it up well before (`client.IDLE_SECONDS`)."""


class PeerCertificateMissing(Exception):
    """The request did not come over TLS with a required client certificate; serve it with `runner_facing_config`."""


class PeerCertificateProtocol(BoundedProtocol):
    """The bounded protocol, which also puts the verified peer certificate (DER) under `scope["extensions"]`."""

    _peer: bytes | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note whose connection this is, once for all its requests."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.context.verify_mode is ssl.CERT_REQUIRED:
            self._peer = tls.getpeercert(binary_form=True)

    def on_message_begin(self) -> None:
        """A new request's scope."""
        super().on_message_begin()
        if self._peer is not None:
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]
            scope["extensions"] = {EXTENSION: self._peer}


def peer_certificate(scope: Mapping[str, Any]) -> bytes:
    """The verified client certificate (DER) of a request. Raises PeerCertificateMissing."""
    found = (scope.get("extensions") or {}).get(EXTENSION)
    if not isinstance(found, bytes):
        raise PeerCertificateMissing("no client certificate was verified on this connection")
    return found


def runner_facing_config(app: Any, *, host: str, port: int, context: ssl.SSLContext) -> uvicorn.Config:
    """The uvicorn configuration of the runner-facing server over a context of `keys.tls.runner_facing_server`.

    Forwarded-for headers are ignored, nothing is logged per request, and the response names no server.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=PeerCertificateProtocol,
        ws="none",
        ssl_context_factory=lambda _config, _default: context,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
