"""A bundle server of a test's own on loopback: it answers each request with the bytes that the test gave it."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class BundleServer:
    """`answer` is what the next requests get; `requests` are those that came, head only."""

    port: int = 0
    answer: Answer = b""
    requests: list[str] = field(default_factory=list)

    def url(self, scheme: str = "http") -> str:
        """Where the bundle is."""
        return f"{scheme}://127.0.0.1:{self.port}/bundles/lockgate.tar.gz"

    def serve(self, body: bytes, etag: str | None = None) -> None:
        """From now on 200 with this body."""
        self.answer = response(200, body, **({"etag": etag} if etag else {}))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.decode())
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
                await writer.drain()
            else:
                await self.answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the caller has left, which is its right
        finally:
            writer.close()


def response(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer."""
    lines = [
        f"HTTP/1.1 {status} X",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def bundle_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[BundleServer]:
    """A server that runs as long as the block."""
    made = BundleServer()
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


@dataclass(frozen=True)
class Authority:
    """A CA of the test's own and what it vouches for, as PEM files in `folder`."""

    folder: Path
    name: str = "ca"

    def make(self) -> Path:
        """The CA's certificate."""
        self._issue(self.name, ca=True)
        return self.folder / f"{self.name}.pem"

    def leaf(self, name: str) -> tuple[Path, Path]:
        """(certificate, key) for 127.0.0.1."""
        self._issue(name, ca=False)
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def server(self, name: str, clients: Path | None = None) -> ssl.SSLContext:
        """A server's context; with `clients` it asks for a certificate of that CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = self.leaf(name)
        context.load_cert_chain(certificate, key)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        return context

    def _issue(self, name: str, *, ca: bool) -> None:
        key: Any = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer_key, issuer = key, subject
        if not ca:
            from cryptography.hazmat.primitives.serialization import load_pem_private_key

            signer_key = load_pem_private_key((self.folder / f"{self.name}.key").read_bytes(), None)
            issuer = x509.load_pem_x509_certificate((self.folder / f"{self.name}.pem").read_bytes()).subject
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
        )
        if ca:
            usage = dict.fromkeys(
                ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                 "encipher_only", "decipher_only"), False)  # fmt: skip
            builder = builder.add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True)
        else:
            names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(signer_key, hashes.SHA256())
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        path = self.folder / f"{name}.key"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path.chmod(0o600)
