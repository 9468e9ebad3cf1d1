"""What the front door does around its endpoints: an inner failure is said alike at every path, and the SDK makes no spans of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mcp.shared._otel as sdk
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.types import Message
from tests.unit.gateway.api.memorydoor import MemoryDoor
from tests.unit.gateway.api.serving import Served, headers_of, modern

from lockgate.gateway.api.app import WebSettings, public_app

URL = "http://127.0.0.1:8400"


def broken(_token: str, _audience: Any) -> Any:
    raise RuntimeError("inner detail")


@pytest.mark.parametrize("path", ["/mcp", "/api/v1/operations"])
async def test_a_failure_outside_of_every_call_is_a_500_that_leaks_nothing_and_is_raised_for_the_log(path: str) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:8400"), (b"authorization", b"Bearer x"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"", "root_path": ""}
    app = public_app(MemoryDoor(), WebSettings(URL, authorization_servers=("https://issuer",)), broken)
    with pytest.raises(RuntimeError):
        await app(scope, receive, send)
    start, body = sent
    assert start["status"] == 500 and (b"cache-control", b"no-store") in start["headers"]
    document = json.loads(body["body"])
    assert document["code"] == "internal" and "inner detail" not in json.dumps(document)


@contextmanager
def recorded() -> Iterator[InMemorySpanExporter]:
    """Whatever spans the SDK makes, if it makes any."""
    exporter, provider, before = InMemorySpanExporter(), TracerProvider(), sdk._tracer
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    sdk._tracer = provider.get_tracer("sdk")
    try:
        yield exporter
    finally:
        sdk._tracer = before


@pytest.mark.parametrize("tool", ["deploy", "broken"])
async def test_the_sdk_makes_no_span_of_a_call_whatever_a_caller_says_of_traces(served: Served, tool: str) -> None:
    call = modern("tools/call", {"name": tool, "arguments": {"target": "web-1"}})
    call["params"]["_meta"]["traceparent"] = f"00-{'ab' * 16}-{'cd' * 8}-01"
    with recorded() as spans:
        async with served.client() as client:
            response = await client.post("/mcp", json=call, headers=headers_of(call))
    assert response.status_code == 200
    assert spans.get_finished_spans() == ()
