"""The launcher's part in starting a proxy: its socket, and the fork; it must not load the proxy into the launcher itself."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NoReturn

from lockgate.runner.egress.rules import EgressRules

_BACKLOG = 64


def bound_socket(place: Path, uid: int | None) -> socket.socket:
    """A listening Unix socket at `place` that only `uid` (None: this user) may connect to. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # By the directory's descriptor: the path of a socket may have 107 bytes only.
        os.fchmod(listener.fileno(), 0o600)  # the mode the name is made with
        listener.bind(f"/proc/self/fd/{directory}/{place.name}")
        if uid is not None:
            os.chown(place.name, uid, uid, dir_fd=directory, follow_symlinks=False)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(directory)
    return listener


def fork_into_proxy(
    rules: EgressRules, listener: socket.socket, link: socket.socket, uid: int | None, parent: int
) -> NoReturn:
    """In the forked child: load the proxy, then give everything up. What it is made of is read while that is still allowed."""
    try:
        from lockgate.runner.egress.process import become_proxy

        become_proxy(rules, listener, link, uid, parent)
    finally:
        os._exit(70)
