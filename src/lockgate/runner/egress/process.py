"""Turns a forked child into the egress proxy of one stage: no keys, not root, no files, no other program; it must not return."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - the resolver's threads need it, and nothing is imported once confined
import encodings.idna  # noqa: F401 - as above: the socket module looks names up with it
import os
import platform
import resource
import socket
from typing import NoReturn

from lockgate.runner.egress.proxy import Proxy
from lockgate.runner.egress.rules import EgressRules
from lockgate.runner.sandbox import linux, seccomp
from lockgate.runner.sandbox.warden import confine

_DESCRIPTORS_BESIDE_TUNNELS = 64


def become_proxy(
    rules: EgressRules, door: socket.socket, link: socket.socket, uid: int | None, parent: int
) -> NoReturn:
    """Serve what comes through `door` by `rules`, noting tunnels on `link`, until the runner hangs up there or dies. Never returns."""
    code = 70
    try:
        confine({door.fileno(), link.fileno()}, uid, parent)
        most = 2 * rules.limits.at_once + _DESCRIPTORS_BESIDE_TUNNELS
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        linux.install_filter(seccomp.proxy_filter(platform.machine()))
        asyncio.run(Proxy(rules, link).serve(door))
        code = 0
    finally:
        os._exit(code)
