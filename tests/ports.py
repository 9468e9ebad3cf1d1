"""Loopback ports for the servers that tests start: each is one test process's alone, on the whole host, until that process ends.

A port that was free a moment ago may be anybody's now: the kernel gives it to whoever asks for any port before our server listens on
it, or while that server is down. So these lie below the range that the kernel gives from, and a lock holds each for its process.
"""

import fcntl
import os
import socket
import tempfile
import threading
from functools import cache
from pathlib import Path

FIRST, LAST = 20_000, 32_000
_held: set[int] = set()
_one = threading.Lock()
"""Record locks are a process's: they do not keep two of its threads apart."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens, and which no other test of this user is given while this process lives."""
    with _one:
        return _free_ports(count)


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    start = os.getpid() * 16  # two processes rarely look at the same ones
    for step in range(LAST - FIRST):
        port = FIRST + (start + step) % (LAST - FIRST)
        if port not in _held and _claimed(port) and _unused(port):
            _held.add(port)
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"no {count} ports are free between {FIRST} and {LAST}")


@cache
def _locks() -> int:
    """The file of which each byte stands for a port; the kernel drops a process's record locks when it ends."""
    place = Path(tempfile.gettempdir()) / f"lockgate-test-ports-{os.getuid()}"
    return os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _claimed(port: int) -> bool:
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _unused(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections do not matter
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
