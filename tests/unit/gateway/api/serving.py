"""Serves the front doors by uvicorn on loopback over the in-memory core, and speaks to them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from tests.unit.gateway.api.memorydoor import MemoryDoor, verify

from lockgate.gateway.api.app import WebSettings, public_app
from lockgate.gateway.api.offers import NOTHING, Offers


@dataclass
class Served:
    url: str
    door: MemoryDoor
    web: WebSettings

    def client(self, token: str | None = "agent", **headers: str) -> httpx2.AsyncClient:
        sent = {**({"authorization": f"Bearer {token}"} if token else {}), **headers}
        return httpx2.AsyncClient(base_url=self.url, headers=sent, timeout=60)


@asynccontextmanager
async def serving(offers: Offers = NOTHING, body_seconds: float = 30.0) -> AsyncIterator[Served]:
    """A fresh gateway on a port of its own, with `offers` beside its tools."""
    listener = socket.create_server(("127.0.0.1", 0))
    # Accepted sockets inherit it; without it each answer's second write waits 40 ms for the client's delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    web = WebSettings(
        url,
        allowed_hosts=("gate.test:*",),
        allowed_origins=("https://app.test",),
        body_seconds=body_seconds,
        authorization_servers=("https://issuer",),
    )
    door = MemoryDoor()
    server = uvicorn.Server(_config(public_app(door, web, verify, offers=offers)))
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:
        assert not task.done(), task.exception()
        await asyncio.sleep(0.01)
    try:
        yield Served(url, door, web)
    finally:
        server.should_exit = True
        await task


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(app, http="httptools", ws="none", log_level="warning", access_log=False, server_header=False)


def modern(method: str, params: dict[str, Any] | None = None, request_id: Any = 1) -> dict[str, Any]:
    """A 2026-07-28 request."""
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": {**(params or {}), "_meta": meta}}


def headers_of(message: dict[str, Any]) -> dict[str, str]:
    """The headers that go with a 2026-07-28 request."""
    found = {"mcp-protocol-version": "2026-07-28", "mcp-method": message["method"]}
    name = message["params"].get("name")
    return {**found, **({"mcp-name": name} if isinstance(name, str) else {})}
