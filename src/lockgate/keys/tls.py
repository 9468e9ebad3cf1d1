"""TLS contexts between runners and gateway: TLS 1.3, one pinned CA, certificates on both sides; it must not fall back to anything."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from lockgate.keys.privatefile import KeyFileError, check_closed


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one side: its certificate and key, and the only CA it believes for the other side."""

    certificate: Path
    key: Path
    ca: Path


def runner_facing_server(files: TlsFiles, *, dev: bool = False) -> ssl.SSLContext:
    """The gateway's context: TLS 1.3 only, a client certificate of the pinned CA is required. Raises KeyFileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _strict(context, files, dev=dev)
    # Tickets would let a client come back without showing its certificate again.
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    return context


def runner_client(files: TlsFiles, *, dev: bool = False) -> ssl.SSLContext:
    """A runner's context: TLS 1.3 only, the gateway's certificate by the pinned CA and for `pki.GATEWAY_NAME`. Raises KeyFileError."""
    return pinned_client(files, dev=dev)


def pinned_client(files: TlsFiles, *, dev: bool = False) -> ssl.SSLContext:
    """A client's context: TLS 1.3 only, our certificate, theirs by the pinned CA and for the host that is named. Raises KeyFileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _strict(context, files, dev=dev)
    context.check_hostname = True
    return context


def public_server(certificate: Path, key: Path, *, dev: bool = False) -> ssl.SSLContext:
    """The public listener's context, TLS 1.2 or newer, no client certificate. Raises KeyFileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    _load_chain(context, certificate, key, dev=dev)
    return context


def _strict(context: ssl.SSLContext, files: TlsFiles, *, dev: bool) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(cafile=str(files.ca))
    except (OSError, ssl.SSLError) as error:
        raise KeyFileError(files.ca, f"cannot be used as the CA: {error}") from None
    _load_chain(context, files.certificate, files.key, dev=dev)


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path, *, dev: bool) -> None:
    if not dev:
        check_closed(key)
    try:
        # An encrypted key must fail here rather than ask a terminal.
        context.load_cert_chain(str(certificate), str(key), password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise KeyFileError(certificate, f"with {key}: cannot be used: {error}") from None
