"""A real gateway-side TLS server (uvicorn on a free port) and real certificates."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from lockgate.keys.pki import CertificateAuthority, Issued, RunnerIdentity
from lockgate.keys.privatefile import write_private, write_public
from lockgate.keys.tls import TlsFiles, runner_client, runner_facing_server
from lockgate.wire.peer import runner_facing_config

NOW = 1_790_000_000_000
IDENTITY = RunnerIdentity("acme", "default", "eu-west", "runner-1")
App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


@dataclass
class Pki:
    directory: Path
    authority: CertificateAuthority
    now: int

    def files(self, name: str, issued: Issued, ca: CertificateAuthority | None = None) -> TlsFiles:
        place = self.directory / name
        place.mkdir()
        files = TlsFiles(place / "cert.pem", place / "key.pem", place / "ca.pem")
        write_public(files.certificate, issued.certificate)
        write_private(files.key, issued.key)
        write_public(files.ca, (ca or self.authority).issued.certificate)
        return files

    def server(self) -> ssl.SSLContext:
        return runner_facing_server(self.files("gateway", self.authority.gateway(self.now)))

    def client(self, identity: RunnerIdentity = IDENTITY) -> ssl.SSLContext:
        return runner_client(self.files("runner", self.authority.runner(identity, self.now)))


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    import time

    now = int(time.time() * 1000)  # TLS itself reads the wall clock
    return Pki(tmp_path, CertificateAuthority.create("acme", now), now)


@contextlib.asynccontextmanager
async def serving(app: App, context: ssl.SSLContext) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(runner_facing_config(app, host="127.0.0.1", port=0, context=context))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110  uvicorn offers no event
        await asyncio.sleep(0.01)
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
        listener.close()
