"""The egress proxy: CONNECT to exactly the places of one stage, and nothing else; it must not follow, guess or resolve twice (TRUST §8).

Each connection is one request and at most one tunnel, in the numbered steps of `_serve`. The name is resolved once; every address of the
answer is judged; the connection goes to one of those very addresses. No byte of the client is passed on before its ClientHello was read
whole and names the host that was asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lockgate.runner.egress.addresses import Address, refusal
from lockgate.runner.egress.clienthello import HelloRefused, server_name
from lockgate.runner.egress.connect import END, MAX_HEAD_BYTES, RequestRefused, authority
from lockgate.runner.egress.rules import MAX_HOST, EgressRules, destination, private_network
from lockgate.runner.egress.tunnels import CLOSED, CUT, OPEN, TunnelNote, tell
from lockgate.runner.sandbox.control import MAX_DESCRIPTORS, receive_descriptors

MAX_ADDRESSES: Final = 16
_CHUNK: Final = 64 * 1024
_SMALL_CHUNK: Final = 4 * 1024
_DISCARD_PORT: Final = 9
_SIDES: Final = 2


class _Ended(Exception):
    """This tunnel is over: `outcome` in one word; `status` is answered where nothing was answered yet."""

    def __init__(self, status: int, outcome: str) -> None:
        super().__init__(outcome)
        self.status = status
        self.outcome = outcome


@dataclass(slots=True)
class _Tunnel:
    """One connection's story, told at its end."""

    number: int
    host: str = ""
    port: int = 0
    address: str = ""
    sent: int = 0
    received: int = 0
    outcome: str = OPEN
    sides_ended: int = 0

    def sending(self, count: int) -> None:
        self.sent += count

    def receiving(self, count: int) -> None:
        self.received += count

    def note(self) -> TunnelNote:
        return TunnelNote(self.number, self.host, self.port, self.address, self.sent, self.received, self.outcome)


class Proxy:
    """All tunnels of one stage and what they may use together. `link` is where they are noted, and whose end is the proxy's own."""

    def __init__(self, rules: EgressRules, link: socket.socket) -> None:
        self._limits = rules.limits
        self._destinations = {destination(text) for text in rules.destinations}
        self._private = tuple(private_network(text) for text in rules.private)
        self._control_plane = rules.control_plane
        self._link = link
        self._open: set[asyncio.Task[None]] = set()
        self._passed: set[asyncio.Task[None]] = set()
        self._taken = 0
        self._bytes_left = rules.limits.total_bytes

    async def serve(self, door: socket.socket) -> None:
        """Until the runner hangs up; then every tunnel is cut and noted. ``door``: a listening socket, or one over which connections are passed."""
        hung_up = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._link, hung_up.set)
        if door.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            server = await asyncio.start_unix_server(self._handle, sock=door, limit=_CHUNK)
            await hung_up.wait()
            server.close()
        else:
            loop.add_reader(door, self._take_passed, door)
            await hung_up.wait()
            loop.remove_reader(door)
        left = [task for task in self._open if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _take_passed(self, door: socket.socket) -> None:
        said, descriptors = receive_descriptors(door, MAX_DESCRIPTORS)
        if not said:
            asyncio.get_running_loop().remove_reader(door)
        for descriptor in descriptors:
            task = asyncio.ensure_future(self._serve_passed(socket.socket(fileno=descriptor)))
            self._passed.add(task)
            task.add_done_callback(self._passed.discard)

    async def _serve_passed(self, sock: socket.socket) -> None:
        await self._handle(*await asyncio.open_unix_connection(sock=sock, limit=_CHUNK))

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._taken += 1
        if self._taken > self._limits.tunnels + 1:  # the first one too many is noted, the rest are turned away like it
            await _answer(writer, 429, "too_many")
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler is a task
        self._open.add(task)
        tunnel = _Tunnel(self._taken)
        try:
            async with asyncio.timeout(self._limits.tunnel_seconds):
                await self._serve(tunnel, reader, writer)
                tunnel.outcome = CLOSED
        except _Ended as ended:
            tunnel.outcome = ended.outcome
            if not tunnel.address:
                await _answer(writer, ended.status, ended.outcome)
        except TimeoutError:
            tunnel.outcome = "time"
        except OSError:
            tunnel.outcome = "broken"
        except asyncio.CancelledError:
            # What both sides had ended by themselves was not cut, however soon after that the stage ended.
            tunnel.outcome = CLOSED if tunnel.sides_ended == _SIDES else CUT
            raise
        finally:
            self._open.discard(task)
            writer.transport.abort() if tunnel.outcome != CLOSED and tunnel.address else writer.close()
            tell(self._link, tunnel.note())

    async def _serve(self, tunnel: _Tunnel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # 1. Room: tunnels at once and over the stage's life.
        if tunnel.number > self._limits.tunnels:
            raise _Ended(429, "too_many")
        if len(self._open) > self._limits.at_once:
            raise _Ended(503, "too_many_at_once")
        # 2. The request: CONNECT, whole, in time, with nothing behind it.
        asked = await _request(reader, self._limits.handshake_seconds)
        # 3. Exactly one of this stage's places; no other spelling of it.
        host, port = self._allowed(tunnel, asked)
        # 4. One look-up, and every address of its answer may be connected to.
        addresses = await _resolve(host, port, self._limits.handshake_seconds)
        await self._judge(addresses)
        # 5. To one of those very addresses.
        upstream, sink = await _connect(addresses, port, self._limits.handshake_seconds)
        try:
            tunnel.address = sink.get_extra_info("peername")[0]
            tell(self._link, tunnel.note())
            await _answer(writer, 200, "Connection established")
            # 6. The name in the ClientHello is the host's, before a byte goes on.
            hello = await _hello(reader, host, self._limits.handshake_seconds)
            # 7. Bytes both ways, counted.
            await self._relay(tunnel, hello, (reader, writer), (upstream, sink))
        finally:
            sink.transport.abort()

    def _allowed(self, tunnel: _Tunnel, asked: str) -> tuple[str, int]:
        host, _, port = asked.rpartition(":")
        tunnel.host = host[:MAX_HOST]
        tunnel.port = int(port) if port.isdecimal() and len(port) <= 5 else 0
        if not any(asked == f"{name}:{number}" for name, number in self._destinations):
            raise _Ended(403, "not_allowed")
        return host, tunnel.port

    async def _judge(self, addresses: list[Address]) -> None:
        for address in addresses:
            why = refusal(address, self._private)
            if why:
                raise _Ended(403, f"address_{why.replace('-', '_')}")
        forbidden = await self._control_plane_addresses()
        for address in addresses:
            if address in forbidden:
                raise _Ended(403, "address_control_plane")
            if _is_own(address):
                raise _Ended(403, "address_own_host")

    async def _control_plane_addresses(self) -> set[Address]:
        """Looked up anew for each tunnel: it may move. One that cannot be resolved may be anywhere, so nothing is connected to."""
        found: set[Address] = set()
        for host in self._control_plane:
            try:
                found.update(await _resolve(host, 0, self._limits.handshake_seconds))
            except _Ended:
                raise _Ended(502, "control_plane_unknown") from None
        return found

    async def _relay(
        self,
        tunnel: _Tunnel,
        hello: bytes,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        async def pump(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]
        ) -> None:
            while chunk := await reader.read(_CHUNK):
                self._spend(len(chunk))
                count(len(chunk))
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
            tunnel.sides_ended += 1

        self._spend(len(hello))
        tunnel.sending(len(hello))
        upstream[1].write(hello)
        pumps = {
            asyncio.ensure_future(pump(client[0], upstream[1], tunnel.sending)),
            asyncio.ensure_future(pump(upstream[0], client[1], tunnel.receiving)),
        }
        try:
            done, pending = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if pending and not any(one.exception() for one in done):
                more, pending = await asyncio.wait(pending, timeout=self._limits.half_open_seconds)
                done |= more
            for one in done:
                one.result()
            if pending:
                raise _Ended(0, "half_open")
        finally:
            for one in pumps:
                one.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def _spend(self, count: int) -> None:
        if count > self._bytes_left:
            self._bytes_left = 0
            raise _Ended(0, "bytes")
        self._bytes_left -= count


async def _request(reader: asyncio.StreamReader, seconds: int) -> str:
    data = b""
    try:
        async with asyncio.timeout(seconds):
            while END not in data:
                if len(data) > MAX_HEAD_BYTES:
                    raise _Ended(431, "oversize_request")
                chunk = await reader.read(_SMALL_CHUNK)
                if not chunk:
                    raise _Ended(400, "no_request")
                data += chunk
    except TimeoutError:
        raise _Ended(408, "slow_request") from None
    head, _, behind = data.partition(END)
    if len(head) > MAX_HEAD_BYTES:
        raise _Ended(431, "oversize_request")
    try:
        asked = authority(head)
    except RequestRefused as refused:
        raise _Ended(refused.status, refused.kind) from None
    if behind:
        raise _Ended(400, "bytes_before_answer")
    return asked


async def _resolve(host: str, port: int, seconds: int) -> list[Address]:
    """Every address of `host`, once each, as the system's resolver answers now."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            # As bytes: no codec may turn the name into another one.
            found = await loop.getaddrinfo(
                host.encode("ascii"), port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
    except (OSError, TimeoutError):
        raise _Ended(502, "unresolved") from None
    addresses = list(dict.fromkeys(ipaddress.ip_address(place[0]) for *_, place in found))
    if not addresses or len(addresses) > MAX_ADDRESSES:
        raise _Ended(502, "unresolved")
    return addresses


def _is_own(address: Address) -> bool:
    """Whether this machine itself answers at `address`: the kernel would then speak from it. Nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), _DISCARD_PORT))
        except OSError:  # no way there: to connect will say so
            return False
        return bool(probe.getsockname()[0] == str(address))


async def _connect(
    addresses: list[Address], port: int, seconds: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for address in addresses:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(seconds):
                return await asyncio.open_connection(str(address), port, limit=_CHUNK)
    raise _Ended(502, "unreachable")


async def _hello(reader: asyncio.StreamReader, host: str, seconds: int) -> bytes:
    """The client's first bytes, once they are a whole ClientHello for `host`."""
    data = b""
    try:
        async with asyncio.timeout(seconds):
            while (name := server_name(data)) is None:
                chunk = await reader.read(_SMALL_CHUNK)
                if not chunk:
                    raise _Ended(0, "no_hello")
                data += chunk
    except TimeoutError:
        raise _Ended(0, "slow_hello") from None
    except HelloRefused as refused:
        raise _Ended(0, refused.kind) from None
    if name != host:
        raise _Ended(0, "server_name_mismatch")
    return data


async def _answer(writer: asyncio.StreamWriter, status: int, why: str) -> None:
    """A status line whose reason is the outcome's word: tools show it to whoever asks why."""
    close = "" if status == 200 else "Content-Length: 0\r\nConnection: close\r\n"
    writer.write(f"HTTP/1.1 {status} {why}\r\n{close}\r\n".encode("ascii"))
    with contextlib.suppress(OSError):
        await writer.drain()
