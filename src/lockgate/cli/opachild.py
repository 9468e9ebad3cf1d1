"""An `opa` beside the gateway of `lockgate dev`: on a Unix socket in a folder of its own, gone with whoever started it. It decides what it is given."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.cli.bound import bound
from lockgate.policy.opaserver.endpoint import Dialer, Endpoint
from lockgate.policy.opaserver.process import SERVER_ENVIRONMENT, server_arguments

if TYPE_CHECKING:
    from lockgate.gateway.settings import GatewaySettings

POLL_SECONDS = 0.05
DEADLINE = 10.0
"""Seconds a decision may take on a laptop that is busy with other things."""
_HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


class OpaEnded(RuntimeError):
    """The `opa` beside the gateway ended by itself; its log says why."""


def beside(settings: GatewaySettings, folder: Path) -> GatewaySettings:
    """The settings of a gateway whose decisions are made by the OPA of `folder`, into which it puts each verified bundle."""
    from lockgate.gateway.opasettings import OpaSettings

    opa = OpaSettings(url=f"unix://{socket_of(folder)}", publish=bundle_of(folder).parent, deadline=DEADLINE)
    return replace(settings, policy=replace(settings.policy, engine="opa", opa=opa))


@contextlib.contextmanager
def opa_folder() -> Iterator[Path]:
    """A folder that only we may enter; of a short name, since a socket lies in it."""
    with tempfile.TemporaryDirectory(prefix="lockgate-opa-") as folder:
        yield Path(folder)


def socket_of(folder: Path) -> Path:
    """Where the OPA of a folder listens."""
    return folder / "opa.sock"


def bundle_of(folder: Path) -> Path:
    """What the OPA of a folder serves."""
    return folder / "bundle" / "bundle.tar.gz"


async def serve_opa(program: Path, folder: Path, *, ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Run `program` until `stop`; `ready` is set once it answers. Raises OpaEnded."""
    endpoint = Endpoint(socket=socket_of(folder))
    command = bound(program, server_arguments(endpoint, bundle_of(folder)), SERVER_ENVIRONMENT)
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    ended = asyncio.create_task(process.wait())
    healthy = asyncio.create_task(_healthy(Dialer(endpoint, None, max_body=1 << 16)))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({ended, healthy, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if healthy.done():
            healthy.result()
            ready.set()
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done() and not stop.is_set():
            raise OpaEnded(f"{program} ended by itself with exit code {process.returncode}")
    finally:
        healthy.cancel()
        stopped.cancel()
        if process.returncode is None:
            process.terminate()
        await ended


async def _healthy(dialer: Dialer) -> None:
    while True:
        with contextlib.suppress(OSError, ValueError):
            connection = await dialer.connect()
            status = (await connection.ask(_HEALTH)).status
            connection.abort()
            if status == 200:
                return
        await asyncio.sleep(POLL_SECONDS)
