"""A TCP proxy on loopback between runner and gateway that cuts, holds or slows bytes each way; it must not read them (they are TLS)."""

from __future__ import annotations

import selectors
import socket
import threading
from dataclasses import dataclass, field


@dataclass
class Way:
    """One direction: `held` keeps bytes back (the peer sees an open, silent line), `rate` is bytes per second (None: no bound)."""

    held: bool = False
    rate: float | None = None
    carried: int = 0
    """Bytes passed on so far."""


@dataclass
class Line:
    """Two ends and what was read of each and not passed on yet."""

    ends: tuple[socket.socket, socket.socket]
    waiting: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    closed: list[bool] = field(default_factory=lambda: [False, False])


class Proxy:
    """Listens on `port`; `up` is what the runner sends, `down` what the gateway answers. `refused`: new connections are reset."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.up, self.down = Way(), Way()
        self.refused = False
        self._lines: list[Line] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._going = True
        self._pause = threading.Event()  # never set: this is how slow the line is
        self._thread = threading.Thread(target=self._run, daemon=True, name="proxy")
        self._thread.start()

    def cut(self) -> None:
        """Reset every open connection at both ends."""
        with self._lock:
            for line in self._lines:
                self._drop(line)
            self._lines.clear()

    def vanish(self) -> None:
        """The runner's end is reset, the gateway's stays open and silent: half-open, as after a lost route."""
        with self._lock:
            for line in self._lines:
                reset(line.ends[0])
                line.closed[0] = True

    def close(self) -> None:
        """End."""
        self._going = False
        self._thread.join()
        self.cut()
        self._listener.close()

    def _run(self) -> None:
        while self._going:
            with self._lock:
                self._accept()
                busy = [self._carry(line, index) for line in self._lines for index in (0, 1) if not line.closed[index]]
            if not any(busy):
                self._rest()

    def _rest(self) -> None:
        """Until something can be read; bounded, since a change of the ways wakes nobody."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            with self._lock:
                ways = (self.up, self.down)
                for line in self._lines:
                    for index, end in enumerate(line.ends):
                        if not (line.closed[index] or ways[index].held):
                            selector.register(end, selectors.EVENT_READ)
            selector.select(0.02)

    def _accept(self) -> None:
        try:
            near, _ = self._listener.accept()
        except BlockingIOError:
            return
        if self.refused:
            reset(near)
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._to), timeout=5)
        except OSError:
            reset(near)
            return
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines.append(Line((near, far)))

    def _carry(self, line: Line, index: int) -> bool:
        """Pass on what one end said; True when something moved."""
        way, source, sink = (self.up, self.down)[index], line.ends[index], line.ends[1 - index]
        if way.held:
            return False
        most = 1 << 16 if way.rate is None else max(1, int(way.rate * 0.02))
        try:
            data = source.recv(most)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._drop(line)
            return True
        try:
            sink.setblocking(True)
            sink.settimeout(5)
            sink.sendall(data)
        except OSError:
            self._drop(line)
            return True
        finally:
            if not line.closed[1 - index]:
                sink.setblocking(False)
        way.carried += len(data)
        if way.rate is not None:
            self._pause.wait(len(data) / way.rate)
        return True

    def _drop(self, line: Line) -> None:
        for index, end in enumerate(line.ends):
            if not line.closed[index]:
                reset(end)
                line.closed[index] = True


def reset(end: socket.socket) -> None:
    """Close with RST instead of FIN."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    end.close()
