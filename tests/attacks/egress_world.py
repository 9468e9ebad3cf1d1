"""The attacker's side of the egress proxy: a world from `egress_arena`, proxies in it, and a client that says any bytes to them."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import lockgate

PACKAGES = Path(lockgate.__file__).resolve().parents[1]
ARENA = Path(__file__).with_name("egress_arena.py")
API, OTHER, GATEWAY = "93.184.215.14", "93.184.215.15", "93.184.215.99"
PRIVATE, METADATA, METADATA6 = "10.20.0.5", "169.254.169.254", "fd00:ec2::254"
API6, NAT64 = "2606:4700::1111", "64:ff9b::5db8:d70e"
ADDRESSES = (API, OTHER, GATEWAY, PRIVATE, METADATA, METADATA6, API6, NAT64)
NAMES = {
    "api.example": [[API]],
    "six.example": [[API6]],
    "gateway.example": [[GATEWAY]],
    "alias.example": [[GATEWAY]],
}
ROOT_OF_ITS_OWN = ("--user", "--map-root-user")
PATIENCE = 60.0


class World:
    """One arena process."""

    def __init__(self, place: Path, *, as_root: bool = False) -> None:
        self.place = place
        self._numbers = itertools.count()
        (place / "certificate.pem").write_bytes(certificate("api.example"))
        given = json.dumps([f"{address}/{'128' if ':' in address else '32'}" for address in ADDRESSES])
        self._process = subprocess.Popen(
            ["unshare", *([] if as_root else ROOT_OF_ITS_OWN), "--net", "--mount", sys.executable, ARENA, place, given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(PACKAGES)},
        )
        assert self._out.readline() == "ready\n"
        self.order(op="names", answers=NAMES)

    @property
    def _out(self) -> Any:
        return self._process.stdout

    def order(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._out.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)

    def reaches(self, address: str, port: int = 443) -> bool:
        """Whether the address answers without the proxy, from where the proxy is."""
        return "reached" in self.order(op="dial", address=address, port=port)

    def connections(self, address: str) -> int:
        """How many connections anybody made to the address so far."""
        return int(self.order(op="seen").get(address, 0))

    def answers(self, name: str, *answers: list[str]) -> None:
        """What the resolver says to the first, second, … question for a name."""
        self.order(op="names", answers={name: list(answers)})

    def questions(self, name: str) -> int:
        """How often the address of a name was asked for."""
        return sum(1 for asked, kind in self.order(op="asked")["asked"] if asked == name and kind == 1)

    @contextlib.contextmanager
    def proxy(self, *destinations: str, **rules: Any) -> Iterator[Egress]:
        """A proxy of one stage. In the end it must be gone in good order, and `notes` is what it told."""
        path = self.place / f"proxy{next(self._numbers)}.sock"
        given = {
            "destinations": destinations or ("api.example:443",),
            "private": (),
            "control_plane": ("gateway.example",),
        }
        pid = self.order(op="proxy", rules=given | rules, socket=str(path))["pid"]
        egress = Egress(path)
        try:
            yield egress
        finally:
            ended = self.order(op="stop", pid=pid)
            egress.told = ended["notes"]
            assert ended["exit"] == 0


@dataclass
class Egress:
    """A running proxy's socket; after its end, its notes."""

    path: Path
    told: list[dict[str, Any]] = field(default_factory=list)

    @property
    def notes(self) -> list[dict[str, Any]]:
        """The last word about each tunnel, in order of arrival."""
        return list({note["number"]: note for note in self.told}.values())

    @property
    def outcomes(self) -> list[str]:
        return [note["outcome"] for note in self.notes]

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(str(self.path))
        return sock

    def ask(self, request: bytes) -> str:
        """The answer's first line to these very bytes; the connection is over then."""
        with self.connect() as sock:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(request)
            return first_line(sock)

    def refused(self, asked: str) -> str:
        """The first line of the answer to a plain CONNECT to `asked`."""
        return self.ask(connect(asked))

    @contextlib.contextmanager
    def tunnel(self, asked: str = "api.example:443") -> Iterator[socket.socket]:
        """An established tunnel, before the client's first byte."""
        with self.connect() as sock:
            sock.sendall(connect(asked))
            assert first_line(sock) == "HTTP/1.1 200 Connection established"
            yield sock

    def through(self, hello: bytes, asked: str = "api.example:443") -> bytes:
        """What comes back after these first bytes: an echo of them when they went through, nothing when the tunnel was cut."""
        with self.tunnel(asked) as sock:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(hello)
                sock.shutdown(socket.SHUT_WR)
            return everything(sock)


def connect(asked: str, *headers: str, version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join((f"CONNECT {asked} {version}", *headers, "", "")).encode("latin-1")


def first_line(sock: socket.socket) -> str:
    """Reads exactly one head, byte by byte, so that nothing of what follows is lost."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            break
        data += byte
    return data.split(b"\r\n")[0].decode()


def everything(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := sock.recv(65536):
            data += chunk
    return data


def client_hello(name: str | None = "api.example") -> bytes:
    """The first flight of a real TLS client that asks for `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def records(hello: bytes, size: int) -> bytes:
    """The same handshake message cut into TLS records of `size` bytes."""
    message = hello[5:]
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


def with_extension(hello: bytes, kind: int, body: bytes) -> bytes:
    """The hello with one more extension at its end, all lengths mended."""
    message = bytearray(hello[9:])
    at = 2 + 32
    at += 1 + message[at]
    at += 2 + int.from_bytes(message[at : at + 2], "big")
    at += 1 + message[at]
    extensions = bytes(message[at + 2 :]) + kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body
    whole = bytes(message[:at]) + len(extensions).to_bytes(2, "big") + extensions
    framed = b"\x01" + len(whole).to_bytes(3, "big") + whole
    return b"\x16\x03\x01" + len(framed).to_bytes(2, "big") + framed


def certificate(name: str) -> bytes:
    """A throw-away server's key and certificate, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + made.public_bytes(serialization.Encoding.PEM)
