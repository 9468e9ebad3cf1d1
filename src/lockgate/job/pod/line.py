"""The pod's end of its channel: TLS to the one certificate that is pinned, and frames; it must not trust a name, a date or an authority."""

from __future__ import annotations

import hmac
import socket
import ssl

from lockgate.contract import podchannel as pod
from lockgate.contract.hashing import new_sha256

CONNECT_SECONDS = 20
STALL_SECONDS = 60
_CHUNK = 64 * 1024
_LENGTH_BYTES = 4


class LineError(Exception):
    """The channel cannot be had, or what came over it was no frame; the text says which."""


def connected(place: str) -> socket.socket:
    """A TCP connection to `host:port`; a fresh pod may have to wait for its network to be let through. Raises LineError."""
    host, _, port = place.rpartition(":")
    try:
        sock = socket.create_connection((host, int(port)), CONNECT_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, ValueError) as error:
        raise LineError(f"{pod.ADDRESS_VARIABLE}={place}: {error}") from None
    return sock


def client_context() -> ssl.SSLContext:
    """TLS 1.3 alone. Authorities are not asked: `pinned` holds the certificate against its digest."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def pinned(sock: socket.socket, pin: str) -> ssl.SSLSocket:
    """TLS over `sock` with whoever has the key of the certificate whose SHA-256 is `pin` (hex). Nothing was said to it by then. Raises LineError."""
    sock.settimeout(CONNECT_SECONDS)
    try:
        wrapped = client_context().wrap_socket(sock)
    except OSError as error:
        raise LineError(f"TLS: {error}") from None
    check_pin(wrapped.getpeercert(binary_form=True), pin)
    return wrapped


def check_pin(certificate: bytes | None, pin: str) -> None:
    """Raises LineError unless it is the pinned one."""
    found = new_sha256(len(certificate or b""))
    found.update(certificate or b"")
    if not certificate or not hmac.compare_digest(found.hexdigest().encode(), pin.encode()):
        raise LineError(f"{pod.PIN_VARIABLE}: whoever answers there has another certificate")


class Line:
    """Frames both ways over one TLS connection. Reading never holds more than one frame beyond what has arrived."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._data = bytearray()

    def fileno(self) -> int:
        """To be waited for; `arrived` must have been empty before."""
        return self._sock.fileno()

    def send(self, tag: bytes, payload: bytes = b"") -> None:
        """Write one frame, waiting for room. Raises LineError."""
        self.send_raw((len(payload) + 1).to_bytes(_LENGTH_BYTES, "big") + tag + payload)

    def send_raw(self, data: bytes) -> None:
        """Write bytes outside any frame: the ticket. Raises LineError."""
        self._sock.settimeout(STALL_SECONDS)
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise LineError(f"the runner is gone: {error}") from None

    def receive(self, seconds: float) -> tuple[bytes, bytes]:
        """The next frame, waiting at most `seconds` for each piece of it. Raises LineError, also at the end."""
        while (frame := self._take()) is None:
            if not self._read(seconds):
                raise LineError("the runner has hung up")
        return frame

    def arrived(self) -> list[tuple[bytes, bytes]] | None:
        """Every frame that is there now, without waiting; None at the end. Raises LineError."""
        found = []
        alive = self._read(0)
        while (frame := self._take()) is not None:
            found.append(frame)
        return found if alive or found else None

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def _read(self, seconds: float) -> bool:
        self._sock.settimeout(seconds)
        try:
            chunk = self._sock.recv(_CHUNK)
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        except OSError as error:
            raise LineError(f"the runner is gone: {error}") from None
        self._data += chunk
        return bool(chunk)

    def _take(self) -> tuple[bytes, bytes] | None:
        if len(self._data) < pod.HEADER_BYTES:
            return None
        length = int.from_bytes(self._data[:_LENGTH_BYTES], "big") - 1
        if not 0 <= length <= pod.MAX_FRAME_BYTES:
            raise LineError(f"a frame of {length} bytes, at most {pod.MAX_FRAME_BYTES} are allowed")
        end = pod.HEADER_BYTES + length
        if len(self._data) < end:
            return None
        tag, payload = bytes(self._data[_LENGTH_BYTES : pod.HEADER_BYTES]), bytes(self._data[pod.HEADER_BYTES : end])
        del self._data[:end]
        return tag, payload
