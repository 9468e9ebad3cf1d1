"""A TLS line that ends or is garbled at any moment says nothing about trust: the same call may be made again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from tests.unit.wire.conftest import Pki

from lockgate.wire.client import GatewayClient, GatewayUnavailable

T = TypeVar("T")
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
CLOSE_NOTIFY, INTERNAL_ERROR = b"\x01\x00", b"\x02\x50"


class Peer:
    """One connection's gateway side, with its TLS made by hand, so that it can stop at any byte."""

    def __init__(self, line: socket.socket, context: ssl.SSLContext) -> None:
        self.line = line
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)

    def hello(self) -> bytes:
        """What answers the client's hello, not sent yet."""
        self._in.write(self.line.recv(1 << 16))
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._out.read()

    def request(self) -> None:
        """The handshake and the request's head."""
        self._whole(self._tls.do_handshake)
        while b"\r\n\r\n" not in self._whole(lambda: self._tls.read(1 << 16)):
            continue

    def record(self, data: bytes) -> bytes:
        """Data as the other side would get it."""
        self._tls.write(data)
        return self._out.read()

    def farewell(self) -> bytes:
        """The end that TLS says."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._out.read()

    def _whole(self, do: Callable[[], T]) -> T:
        while True:
            try:
                found = do()
            except ssl.SSLWantReadError:
                self.line.sendall(self._out.read())
                came = self.line.recv(1 << 16)
                assert came, "the client left"
                self._in.write(came)
            else:
                self.line.sendall(self._out.read())
                return found


def alert(body: bytes) -> bytes:
    """A record of an alert that is not encrypted yet."""
    return b"\x15\x03\x03\x00\x02" + body


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def changed(data: bytes) -> bytes:
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def reset(peer: Peer) -> None:
    """The connection's end is RST instead of FIN."""
    peer.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


BEFORE: dict[str, Callable[[Peer], object]] = {
    "before the hello": lambda peer: None,
    "after the client's hello": lambda peer: peer.hello(),
    "in the server's hello": lambda peer: peer.line.sendall(half(peer.hello())),
    "by an alert's word": lambda peer: peer.line.sendall(alert(CLOSE_NOTIFY) if peer.hello() else b""),
    "by an internal error": lambda peer: peer.line.sendall(alert(INTERNAL_ERROR) if peer.hello() else b""),
    "by a reset": lambda peer: (peer.hello(), reset(peer)),
    "by a proxy without TLS": lambda peer: peer.line.sendall(
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n" if peer.hello() else b""
    ),
}
AFTER: dict[str, Callable[[Peer], object]] = {
    "after the request": lambda peer: None,
    "by TLS's own end": lambda peer: peer.line.sendall(peer.farewell()),
    "in a record": lambda peer: peer.line.sendall(half(peer.record(ANSWER))),
    "between records": lambda peer: peer.line.sendall(peer.record(ANSWER[:-2])),
    "garbled": lambda peer: peer.line.sendall(changed(peer.record(ANSWER))),
    "in a record, by a reset": lambda peer: (peer.line.sendall(half(peer.record(ANSWER))), reset(peer)),
}


@contextlib.contextmanager
def peer(context: ssl.SSLContext, act: Callable[[Peer], object]) -> Iterator[str]:
    """The URL of a gateway that does this with its one connection and then closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            line, _ = listener.accept()
            with line:
                act(Peer(line, context))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def in_the_request(act: Callable[[Peer], object]) -> Callable[[Peer], object]:
    return lambda peer: (peer.request(), act(peer))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("moment", [*BEFORE, *AFTER])
def test_a_line_that_breaks_in_tls_is_temporary(pki: Pki, moment: str, loop: str) -> None:
    """Also on the loop that the program runs on."""
    import uvloop

    act = BEFORE.get(moment) or in_the_request(AFTER[moment])
    factory = asyncio.new_event_loop if loop == "asyncio" else uvloop.new_event_loop
    with (
        peer(pki.server(), act) as url,
        asyncio.Runner(loop_factory=factory) as runner,
        pytest.raises(GatewayUnavailable) as caught,
    ):
        runner.run(GatewayClient(url, pki.client()).post("/", {}, 60))
    assert caught.value.sent is (moment in AFTER)
