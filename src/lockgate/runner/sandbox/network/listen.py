"""Where the runner listens for pods: an address and ports of its own; it must not accept anything here."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import secrets
import socket
from dataclasses import dataclass
from typing import Final

from lockgate.runner.sandbox.port import SandboxUnavailable

_BACKLOG: Final = 64


@dataclass(frozen=True)
class Listen:
    """``address``: an IP address that pods reach this runner at. ``ports``: which may be listened on, three a stage (None: any that is free).

    ``bind``: the address to listen on where that is another one than pods are told (a node's port in front of the runner).
    """

    address: str
    ports: range | None = None
    bind: str = ""

    def sockets(self, count: int) -> list[socket.socket]:
        """``count`` listening sockets. Raises SandboxUnavailable when there are not so many ports, or no such address."""
        made: list[socket.socket] = []
        try:
            for _ in range(count):
                made.append(self._one())
        except OSError as error:
            for sock in made:
                sock.close()
            raise SandboxUnavailable(
                f"no pod can be waited for at {self.bind or self.address} ({error.strerror or error})",
                "name an address of this machine and enough ports: three for each stage that runs at once",
            ) from None
        return made

    def _one(self) -> socket.socket:
        if self.ports is None:
            return self._bound(0)
        first = secrets.randbelow(max(1, len(self.ports)))
        for step in range(len(self.ports)):
            with contextlib.suppress(OSError):
                return self._bound(self.ports[(first + step) % len(self.ports)])
        raise OSError(errno.EADDRINUSE, f"every port from {self.ports.start} to {self.ports.stop - 1} is in use")

    def _bound(self, port: int) -> socket.socket:
        address = self.bind or self.address
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            sock.listen(_BACKLOG)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        return sock
