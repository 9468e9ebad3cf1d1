"""CPU per tools/call through our front door (in-memory core behind it) beside the SDK's bare low-level echo server; prints both.

Run: `.venv/bin/python -m tests.bench.bench_mcp_door [calls]`. One process serves, this one only sends; CPU is the server's own.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import resource
import socket
import sys
import time
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from tests.unit.gateway.api.memorydoor import MemoryDoor, verify

from lockgate.gateway.api.app import WebSettings, public_app

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
ARGUMENTS = {"target": "web-1", "reason": "the disk of web-1 is full", "dry_run": False, "text": "x" * 200}
ROUNDS = 3


class Forgetful(MemoryDoor):
    """A core that costs next to nothing and keeps nothing."""

    async def call(self, principal: Any, call: Any) -> Any:
        return self._make(principal, call)


def echo_app() -> Any:
    """The SDK's own server and transport, JSON answers, the schema hook given."""

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="deploy", input_schema={"type": "object"})])

    async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(type="text", text=json.dumps(params.arguments))])

    schema = {"type": "object"}
    server = Server("echo", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=lambda _: schema)
    return server.streamable_http_app(stateless_http=True, json_response=True)


def door_app(url: str) -> Any:
    """Our public app."""
    return public_app(Forgetful(), WebSettings(url), verify)


def serve(kind: str, listener: socket.socket, results: Any) -> None:
    """Serve until ended; GET /cpu answers the seconds of CPU this process has used."""
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = echo_app() if kind == "echo" else door_app(url)

    async def measured(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/cpu":
            used = resource.getrusage(resource.RUSAGE_SELF)
            body = str(used.ru_utime + used.ru_stime).encode()
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-length", str(len(body)).encode())],
                }
            )
            await send({"type": "http.response.body", "body": body})
            return
        await app(scope, receive, send)

    config = uvicorn.Config(measured, loop="uvloop", http="httptools", log_level="error", access_log=False)
    results.put("started")
    asyncio.run(uvicorn.Server(config).serve([listener]))


def request(url: str, legacy: bool) -> bytes:
    """One whole HTTP request of a tools/call."""
    params: dict[str, Any] = {"name": "deploy", "arguments": ARGUMENTS, **({} if legacy else {"_meta": META})}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    version = "2025-11-25" if legacy else "2026-07-28"
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: {url.removeprefix('http://')}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nAuthorization: Bearer agent\r\nMCP-Protocol-Version: {version}\r\n"
        f"Mcp-Method: tools/call\r\nMcp-Name: deploy\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def exchange(line: socket.socket, message: bytes) -> bytes:
    """Send one request and read its answer; answers carry Content-Length. Raises RuntimeError for any status but 200."""
    line.sendall(message)
    data = b""
    while b"\r\n\r\n" not in data:
        data += line.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(row.split(b":")[1]) for row in head.lower().split(b"\r\n") if row.startswith(b"content-length"))
    while len(body) < length:
        body += line.recv(65536)
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{head!r} {body[:500]!r}")
    return body


def measure(kind: str, legacy: bool, calls: int) -> float:
    """CPU µs per call in the server: the best of some rounds on one warm connection."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    listener = socket.create_server(("127.0.0.1", 0))
    # Accepted sockets inherit it; without it each answer's second write waits 40 ms for the client's delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    process = context.Process(target=serve, args=(kind, listener, results), daemon=True)
    process.start()
    try:
        results.get(timeout=120)
        with socket.create_connection(listener.getsockname()) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            message, cpu = request(url, legacy), b"GET /cpu HTTP/1.1\r\nHost: x\r\n\r\n"
            for _ in range(200):
                exchange(line, message)
            rounds = []
            for _ in range(ROUNDS):
                before = float(exchange(line, cpu))
                for _ in range(calls):
                    exchange(line, message)
                rounds.append((float(exchange(line, cpu)) - before) / calls * 1e6)
            return min(rounds)
    finally:
        process.terminate()
        process.join()


def main() -> None:
    """Print one line per protocol."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    started = time.monotonic()
    for legacy, version in ((False, "2026-07-28"), (True, "2025-11-25")):
        echo, door = measure("echo", legacy, calls), measure("door", legacy, calls)
        print(f"{version}: bare SDK echo {echo:.0f} µs, front door {door:.0f} µs, ratio {door / echo:.2f}")
    print(f"({calls} calls × {ROUNDS} rounds each, {time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
