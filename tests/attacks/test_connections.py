"""Whoever only reaches the gateway's port: smuggled requests, heads and answers without end, connections held open. Against the real process."""

from __future__ import annotations

import asyncio
import contextlib
import select
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from tests.e2e.conftest import Deployment, make_deployment

from lockgate.wire.connection import ConnectionBounds, bounded

HELD_SECONDS = 60.0
"""Far more than the bound that the gateway is started with; a machine under load needs some of it."""

FREEZE = b'{"scope": "*", "frozen": true, "reason": "smuggled past the proxy"}'


@pytest.fixture(scope="module")
def port() -> Iterator[Deployment]:
    """A gateway alone, with short bounds on its connections."""
    home = Path(tempfile.mkdtemp(prefix="lockgate-attacks-"))
    made = make_deployment(home)
    path = home / "gateway.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["bounds"] = {"head_seconds": 3.0}  # whoever sends a head at once is within it, however busy the machine is
    path.write_text(yaml.safe_dump(settings))
    made.start("gateway")
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(home, ignore_errors=True)


def line(port: Deployment) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port.public), timeout=HELD_SECONDS)


def head(port: Deployment, *more: bytes, path: bytes = b"/api/v1/freezes", host: bytes = b"") -> bytes:
    """The head of a POST that an administrator may make, without its end; nothing in it says how long the body is."""
    token = port.token("root", roles=("admin",)).encode()
    lines = (
        b"POST " + path + b" HTTP/1.1",
        b"Host: " + (host or f"127.0.0.1:{port.public}".encode()),
        b"Content-Type: application/json",
        b"Authorization: Bearer " + token,
        *more,
    )
    return b"\r\n".join(lines) + b"\r\n"


def everything(sock: socket.socket) -> bytes:
    """All that comes until the gateway hangs up, which it must. A reset is an end too."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1 << 16):
            found += data
    return found


def frozen(port: Deployment) -> bool:
    """Whether any freeze was ever recorded."""
    status, document = port.rest("GET", "/api/v1/audit?limit=500", port.token("root", roles=("admin",)))
    assert status == 200, document
    return any("freeze" in entry["kind"] for entry in document["entries"])


def chunked(body: bytes, trailer: bytes = b"") -> bytes:
    return b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailer)


SIZE = b"Content-Length: %d" % len(FREEZE)
CHUNKED = b"Transfer-Encoding: chunked"
SMUGGLED: dict[str, tuple[tuple[bytes, ...], bytes]] = {
    "two lengths": ((b"Content-Length: 0", SIZE), FREEZE),
    "the same length twice": ((SIZE, SIZE), FREEZE),
    "a list of lengths": ((SIZE + b", %d" % len(FREEZE),), FREEZE),
    "a length with a sign": ((SIZE.replace(b": ", b": +"),), FREEZE),
    "a length and a coding": ((SIZE, CHUNKED), chunked(FREEZE)),
    "a coding and a length": ((CHUNKED, SIZE), chunked(FREEZE)),
    "an unknown coding": ((b"Transfer-Encoding: xchunked",), chunked(FREEZE)),
    "chunked and then another": ((b"Transfer-Encoding: chunked, identity",), chunked(FREEZE)),
    "another and then chunked": ((b"Transfer-Encoding: gzip, chunked",), chunked(FREEZE)),
    "two codings in two headers": ((b"Transfer-Encoding: identity", CHUNKED), chunked(FREEZE)),
    "a folded header": ((b"X-A: b", b" c", SIZE), FREEZE),
    "a folded coding": ((b"Transfer-Encoding:", b" chunked"), chunked(FREEZE)),
    "a blank before the colon": ((b"Content-Length : %d" % len(FREEZE),), FREEZE),
    "a NUL in a header": ((b"X-A: b\0c", SIZE), FREEZE),
    "a bare return in a header": ((b"X-A: b\rContent-Length: 0", SIZE), FREEZE),
    "a bare line end in a header": ((b"X-A: b\nContent-Length: 0", SIZE), FREEZE),
    "a size in another notation": ((CHUNKED,), chunked(FREEZE).replace(b"4", b"0x4", 1)),
    "bare line ends between chunks": ((CHUNKED,), chunked(FREEZE).replace(b"\r\n", b"\n")),
    "a header behind the body": ((CHUNKED,), chunked(FREEZE, b"Authorization: Bearer x\r\n")),
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_what_two_readers_could_read_differently_is_no_request(port: Deployment, case: str) -> None:
    more, body = SMUGGLED[case]
    sent = head(port, *more) + b"\r\n" + body + head(port, SIZE) + b"\r\n" + FREEZE
    with line(port) as sock:
        sock.sendall(sent)
        answer = everything(sock)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not frozen(port)


def test_a_coding_is_not_read_in_a_version_that_has_none(port: Deployment) -> None:
    sent = head(port, CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0", 1) + b"\r\n" + chunked(FREEZE)
    with line(port) as sock:
        sock.sendall(sent)
        assert everything(sock).startswith(b"HTTP/1.1 400 ")
    assert not frozen(port)


@pytest.mark.parametrize(
    ("path", "host", "more", "status"),
    [
        (b"/api/v1/freezes", b"evil.example", b"X-A: b", b"421"),
        (b"/api/v1/freezes", b"", b"Host: evil.example", b"400"),
        (b"/api/v1/freezes", b"", b"Origin: https://evil.example", b"403"),
        (b"/api/v1/freezes", b"", b"Origin: null", b"403"),
        (b"http://evil.example/api/v1/freezes", b"", b"X-A: b", b"400"),
        (b"//evil.example/api/v1/freezes", b"", b"X-A: b", b"404"),
        (b"/api/v1/freezes", b"", b"Content-Encoding: gzip", b"415"),
    ],
)
def test_a_host_origin_or_coding_that_is_not_ours_is_refused(
    port: Deployment, path: bytes, host: bytes, more: bytes, status: bytes
) -> None:
    sent = head(port, more, SIZE, b"Connection: close", path=path, host=host) + b"\r\n" + FREEZE
    with line(port) as sock:
        sock.sendall(sent)
        answer = everything(sock)
    assert answer.startswith(b"HTTP/1.1 " + status + b" "), answer
    assert not frozen(port)


def test_a_head_that_never_ends_is_not_waited_for(port: Deployment) -> None:
    """The slow loris: a header now and then, each in good time."""
    with line(port) as sock:
        sock.sendall(head(port, SIZE))
        assert_ends(sock, b"X-Slow: loris\r\n")


def test_blank_lines_before_a_second_request_are_no_request(port: Deployment) -> None:
    with line(port) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port.public)
        assert sock.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        assert_ends(sock, b"\r\n")


def test_a_body_that_nobody_waits_for_is_not_awaited(port: Deployment) -> None:
    """It is refused for its token at once, and then goes on sending."""
    sent = head(port, b"Content-Length: 1000000").replace(b"Bearer ", b"Bearer x") + b"\r\n"
    with line(port) as sock:
        sock.sendall(sent)
        assert sock.recv(1 << 16).startswith(b"HTTP/1.1 401 ")
        assert_ends(sock, b"x")


def assert_ends(sock: socket.socket, drop: bytes) -> None:
    """The gateway hangs up although `drop` is sent to it again and again."""
    give_up = time.monotonic() + HELD_SECONDS
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while time.monotonic() < give_up:
            if select.select([sock], [], [], 0.1)[0] and not sock.recv(1 << 16):
                return
            sock.sendall(drop)
        raise AssertionError(f"still open after {HELD_SECONDS} s")


@pytest.mark.parametrize("what", ["many headers", "one header", "the target"])
def test_a_head_without_bounds_is_cut_off(port: Deployment, what: str) -> None:
    part = {"many headers": b"X-A: b\r\n" * 20, "one header": b"x" * 200, "the target": b"y" * 200}[what]
    start = {"many headers": head(port), "one header": head(port) + b"X-A: ", "the target": b"GET /"}[what]
    with line(port) as sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        sock.sendall(start)
        for _ in range(50_000):
            if select.select([sock], [], [], 0)[0]:
                answer = sock.recv(1 << 16)
                assert answer.startswith(b"HTTP/1.1 431 ") or not answer
                return
            sock.sendall(part)
        raise AssertionError("10 MB of a head were taken")


def test_an_answer_that_nobody_takes_is_not_kept(port: Deployment) -> None:
    """Requests for a long answer, many times, and not a byte of any read."""
    asking = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port.public
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(HELD_SECONDS)
        sock.connect(("127.0.0.1", port.public))
        sock.sendall(asking * 200)
        ours = sock.getsockname()[1]
        # Only seen from its side: what the kernel still holds of the answer keeps the caller's end open.
        give_up = time.monotonic() + HELD_SECONDS
        while ours in established(port):
            assert time.monotonic() < give_up, f"still held after {HELD_SECONDS} s"
            select.select([], [], [], 0.05)


def established(port: Deployment) -> set[int]:
    """The callers' ports of the connections that the gateway has open."""
    here = f"{socket.ntohl(0x7F000001):08X}:{port.public:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].partition(":")[2], 16) for row in rows if row[1] == here and row[3] == "01"}


@pytest.fixture
async def small() -> AsyncIterator[int]:
    """The port of a server in this process that holds four connections, each for as long as it likes."""
    listener = socket.create_server(("127.0.0.1", 0))
    protocol = bounded(ConnectionBounds(head_seconds=HELD_SECONDS, connections=4))
    server = uvicorn.Server(uvicorn.Config(hello, http=protocol, ws="none", lifespan="off", log_config=None))
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0)
    yield listener.getsockname()[1]
    server.force_exit = server.should_exit = True
    await task


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_the_connection_that_has_been_idle_longest_makes_room(small: int) -> None:
    held = []
    for _ in range(4):
        reader, writer = await asyncio.open_connection("127.0.0.1", small)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX-Half: ")
        await writer.drain()
        held.append((reader, writer))
    # The first is no longer the one that has waited longest once it has been answered.
    held[0][1].write(b"b\r\n\r\n")
    assert (await held[0][0].readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
    reader, writer = await asyncio.open_connection("127.0.0.1", small)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
    async with asyncio.timeout(HELD_SECONDS / 2):
        with contextlib.suppress(ConnectionResetError):
            assert await held[1][0].read() == b""
    for left in (held[0], *held[2:]):
        assert not left[0].at_eof()
    for _, each in (*held, (reader, writer)):
        each.close()
