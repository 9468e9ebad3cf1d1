"""Every address behind a name: a pod has no DNS, so what it must not reach is looked up here. It must not connect to any."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final

from lockgate.contract.shown import flat
from lockgate.runner.sandbox.port import SandboxUnavailable

SECONDS: Final = 5.0
MOST: Final = 16
_FIX: Final = "see that this runner's DNS knows it, or name an address in the kubeconfig"


async def places(place: str) -> tuple[str, ...]:
    """``host:port`` with each address of the host in its stead; an address stays itself, and nothing is asked. Raises SandboxUnavailable."""
    host, _, port = place.rpartition(":")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return await _looked_up(host, port)
    return (place,)


async def _looked_up(host: str, port: str) -> tuple[str, ...]:
    try:
        async with asyncio.timeout(SECONDS):
            answers = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        why = flat(str(error), limit=200) or "no answer in time"
        raise SandboxUnavailable(
            f"the API server's name {flat(host, limit=200)} cannot be looked up: {why}", _FIX
        ) from None
    found = sorted({f"{address[0]}:{port}" for *_, address in answers})
    if not 0 < len(found) <= MOST:
        raise SandboxUnavailable(
            f"the API server's name {flat(host, limit=200)} has {len(found)} addresses; pods look at {MOST} at most",
            _FIX,
        )
    return tuple(found)
