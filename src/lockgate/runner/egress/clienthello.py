"""Reads the server name of a TLS ClientHello as it arrives, strictly and bounded; it must not accept what it cannot read whole."""

from __future__ import annotations

from typing import Final

MAX_HELLO_BYTES: Final = 16 * 1024
MAX_RECORDS: Final = 32
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_RECORD_HEADER: Final = 5
_MESSAGE_HEADER: Final = 4
_MAX_RECORD: Final = 1 << 14
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0
_ENCRYPTED_CLIENT_HELLO: Final = (0xFE0D, 0xFFCE)


class HelloRefused(ValueError):
    """The bytes are no ClientHello whose server name can be told; `kind` says why in one word."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _Reader:
    """Takes fields off the front; running short is a fault, never a wait."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def rest(self) -> bytes:
        return self.take(len(self))

    def take(self, count: int) -> bytes:
        if len(self._data) < count:
            raise HelloRefused("malformed_hello")
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> _Reader:
        return _Reader(self.take(self.number(width)))


def server_name(data: bytes) -> str | None:
    """The one host name the client asks for, in lower case, or None while more bytes are needed. Raises HelloRefused.

    `data` is all that came so far, from the first byte: TLS records (RFC 8446 §5.1) that may cut the message anywhere.
    """
    message = _message(data)
    if message is None:
        return None
    hello = _Reader(message)
    if hello.number(2) != 0x0303:  # TLS 1.2 and 1.3 both say so; older ones are refused
        raise HelloRefused("old_tls")
    hello.take(32)
    if len(hello.vector(1)) > 32:
        raise HelloRefused("malformed_hello")
    suites, compressions = hello.vector(2), hello.vector(1)
    if not suites or not compressions:
        raise HelloRefused("malformed_hello")
    extensions = hello.vector(2) if hello else _Reader(b"")
    if hello:
        raise HelloRefused("malformed_hello")
    return _name(_by_type(extensions))


def _message(data: bytes) -> bytes | None:
    """The handshake message's body, put together from its records, or None when it is not whole yet."""
    joined, at = b"", 0
    for _ in range(MAX_RECORDS):
        if at >= len(data):
            return None
        header = data[at : at + _RECORD_HEADER]
        if header[0] != _HANDSHAKE or (len(header) > 1 and header[1] != 3):
            raise HelloRefused("no_tls")
        if len(header) < _RECORD_HEADER:
            return None
        length = int.from_bytes(header[3:], "big")
        if not 0 < length <= _MAX_RECORD:
            raise HelloRefused("malformed_hello")
        record = data[at + _RECORD_HEADER : at + _RECORD_HEADER + length]
        joined += record
        if joined[:1] not in (b"", bytes([_CLIENT_HELLO])):
            raise HelloRefused("no_tls")
        if len(joined) >= _MESSAGE_HEADER:
            size = int.from_bytes(joined[1:_MESSAGE_HEADER], "big")
            if size > MAX_HELLO_BYTES:
                raise HelloRefused("oversize_hello")
            if len(joined) > _MESSAGE_HEADER + size:
                raise HelloRefused("malformed_hello")
            if len(joined) == _MESSAGE_HEADER + size and len(record) == length:
                return joined[_MESSAGE_HEADER:]
        at += _RECORD_HEADER + length
    raise HelloRefused("oversize_hello")


def _by_type(extensions: _Reader) -> dict[int, _Reader]:
    found: dict[int, _Reader] = {}
    while extensions:
        kind = extensions.number(2)
        if kind in found:
            raise HelloRefused("malformed_hello")
        found[kind] = extensions.vector(2)
    return found


def _name(extensions: dict[int, _Reader]) -> str:
    if any(kind in extensions for kind in _ENCRYPTED_CLIENT_HELLO):
        raise HelloRefused("encrypted_hello")  # the name that counts would be one that nobody here can read
    if _SERVER_NAME not in extensions:
        raise HelloRefused("no_server_name")
    extension = extensions[_SERVER_NAME]
    names = extension.vector(2)
    if extension or names.number(1) != _HOST_NAME:
        raise HelloRefused("malformed_hello")
    text = names.vector(2).rest()
    if names or not text.isascii():
        raise HelloRefused("malformed_hello")
    return text.decode("ascii").lower()
