"""The job's end of the channel as a plain descriptor; it must not be inherited by any tool.

The `socket` module would do the same and costs 11 ms before `ready`.
"""

from __future__ import annotations

import os
import stat

VARIABLE = "LOCKGATE_CHANNEL_FD"


class NoChannel(Exception):
    """The job was not started by a runner, or the inherited descriptor is no socket; the text says which."""


class Channel:
    """A connected stream socket by its descriptor; blocking."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def sendall(self, data: bytes) -> None:
        """Write all of `data`. Raises OSError."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def recv(self, size: int) -> bytes:
        """At most `size` bytes; none at the end of the stream. Raises OSError."""
        return os.read(self._descriptor, size)

    def close(self) -> None:
        """End the channel."""
        os.close(self._descriptor)


def take_channel() -> Channel:
    """The inherited channel; from here on no child inherits it and the environment does not name it. Raises NoChannel."""
    number = os.environ.pop(VARIABLE, "")
    if not (number.isascii() and number.isdigit()):
        raise NoChannel(f"{VARIABLE} must be the number of an inherited socket; the job is started by a runner")
    try:
        os.set_inheritable(int(number), False)
        if not stat.S_ISSOCK(os.fstat(int(number)).st_mode):
            raise NoChannel(f"{VARIABLE}={number}: is no socket")
    except (OSError, OverflowError) as error:
        raise NoChannel(f"{VARIABLE}={number[:20]}: {error}") from None
    return Channel(int(number))
