"""A load client over raw HTTP/1.1 connections: the same for every server that is measured; its own CPU is never counted."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

HTTP_OK = b"HTTP/1.1 200"


class CallFailed(RuntimeError):
    """A server answered something else than 200, or an answer the check refuses: the figures would not be about the work they name."""


@dataclass(slots=True)
class Outcome:
    """Seconds from when a call was due to its answer, and from the first call to the last answer."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0


Check = Callable[[bytes], bool]


class _Line(asyncio.Protocol):
    """One connection with at most one call under way."""

    def __init__(self, answered: Callable[[_Line, bytes], None], lost: Callable[[], None]) -> None:
        self._answered, self._lost = answered, lost
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport) or hasattr(transport, "write"):
            self._transport = transport  # type: ignore[assignment]

    def send(self, message: bytes) -> None:
        if self._transport is None:
            raise CallFailed("not connected")
        self._transport.write(message)

    def close(self) -> None:
        if self._transport is not None:
            self._lost = lambda: None
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._data.lower().find(b"content-length:", 0, end)
        length = int(self._data[at + 15 : self._data.find(b"\r\n", at)])
        if len(self._data) >= end + 4 + length:
            answer, self._data = self._data, b""
            self._answered(self, answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost()


class _Run:
    """One load: calls leave in order, each on a free line, none before it is due."""

    def __init__(self, calls: Iterable[bytes], check: Check, rate: float | None) -> None:
        self._calls: Iterator[bytes] = iter(calls)
        self._check, self._rate = check, rate
        self._free: deque[_Line] = deque()
        self._due: dict[_Line, float] = {}
        self._waiting: deque[float] = deque()
        self._started = 0.0
        self._sent = 0
        self._more = True
        self.outcome = Outcome()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def over(self, host: str, port: int, lines: int) -> Outcome:
        loop = asyncio.get_running_loop()
        opened = [
            (await loop.create_connection(lambda: _Line(self._answered, self._lost), host, port))[1]
            for _ in range(lines)
        ]
        try:
            self._free.extend(opened)
            self._started = time.perf_counter()
            if self._rate is None:
                for _ in opened:
                    self._next(time.perf_counter())
            else:
                self._tick()
            await self.done
        finally:
            for line in opened:
                line.close()
        self.outcome.seconds = time.perf_counter() - self._started
        return self.outcome

    def _tick(self) -> None:
        """With a rate: whatever is due by now leaves, late or not; lateness counts as latency."""
        now = time.perf_counter()
        while self._more and self._started + self._sent / (self._rate or 1) <= now:
            due = self._started + self._sent / (self._rate or 1)
            if self._free:
                self._next(due)
            else:
                self._waiting.append(due)
                self._sent += 1
        if self._more:
            asyncio.get_running_loop().call_later(0.0005, self._tick)

    def _next(self, due: float, *, counted: bool = False) -> None:
        message = next(self._calls, None)
        if message is None:
            self._more = False
            self._waiting.clear()
            self._end()
            return
        line = self._free.popleft()
        self._due[line] = due
        self._sent += 0 if counted else 1
        line.send(message)

    def _answered(self, line: _Line, answer: bytes) -> None:
        now = time.perf_counter()
        if not answer.startswith(HTTP_OK) or not self._check(answer):
            self._fail(f"{answer[:700]!r}")
            return
        self.outcome.latencies.append(now - self._due.pop(line))
        self._free.append(line)
        if self._waiting:
            self._next(self._waiting.popleft(), counted=True)
        elif self._rate is None:
            self._next(now)
        self._end()

    def _lost(self) -> None:
        self._fail("the server closed a connection")

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(CallFailed(why))

    def _end(self) -> None:
        if not self._more and not self._due and not self.done.done():
            self.done.set_result(None)


async def drive(port: int, calls: Iterable[bytes], check: Check, *, clients: int, rate: float | None = None) -> Outcome:
    """Send every call (a whole request) over `clients` connections: as fast as answers come, or `rate` a second whatever comes. Raises CallFailed."""
    return await _Run(calls, check, rate).over("127.0.0.1", port, clients)


def post(path: str, port: int, body: bytes, headers: dict[str, str]) -> bytes:
    """A whole POST request."""
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
