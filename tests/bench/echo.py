"""The bare low-level SDK echo server that a governed call is held against; run as `python -m tests.bench.echo PORT`."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any

import mcp_types as types
import uvicorn
import uvloop
from mcp.server.lowlevel import Server


def echo_app() -> Any:
    """The SDK's own server and transport: stateless, JSON answers, a schema look-up hook; one tool that answers its arguments."""
    schema = {"type": "object"}

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="set_replicas", input_schema=schema)])

    async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(type="text", text=json.dumps(params.arguments))])

    server = Server("echo", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=lambda _: schema)
    return server.streamable_http_app(stateless_http=True, json_response=True)


def main() -> None:
    """Serve until ended, as the gateway does: uvloop, httptools, no access log."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(echo_app(), http="httptools", ws="none", access_log=False, log_config=None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()
