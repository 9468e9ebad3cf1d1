"""A gateway that is told to: metrics on a listener of their own, spans to a collector, one line a call, and nowhere what the caller wrote."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.ports import free_ports

CANARY = "canary-0c77e1"


class _Collector(BaseHTTPRequestHandler):
    """An OTLP/HTTP collector that keeps what it is sent."""

    server: _CollectorServer

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class _CollectorServer(ThreadingHTTPServer):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.bodies: list[bytes] = []


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    server = _CollectorServer(("127.0.0.1", 0), _Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", server.bodies
    server.shutdown()
    server.server_close()


def configure(deployment: Any, **telemetry: Any) -> None:
    path = deployment.home / "gateway.yaml"
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**document, "telemetry": telemetry}))


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_call_is_counted_traced_and_logged_without_what_the_caller_wrote(
    bare_deployment: Any, collector: tuple[str, list[bytes]]
) -> None:
    endpoint, bodies = collector
    (port,) = free_ports(1)
    configure(bare_deployment, metrics_port=port, otlp_endpoint=endpoint)
    gateway = bare_deployment.start("gateway")
    alice = bare_deployment.token("alice")
    arguments = {"service": CANARY, "replicas": 2}
    asked = bare_deployment.ask("set_replicas", "web-dev", arguments, alice, reason=f"because of {CANARY}")
    assert bare_deployment.rest("GET", "/api/v1/operations", "no.token.atall")[0] == 401
    assert bare_deployment.rest("GET", "/api/v1/operations", None)[0] == 401

    status, text = get(f"http://127.0.0.1:{port}/metrics")
    assert status == 200
    assert 'lockgate_calls_total{outcome="queued"} 1.0' in text
    assert 'lockgate_queue_depth{state="queued"} 1.0' in text
    assert 'lockgate_authentication_refused_total{door="human",error="invalid_token"} 1.0' in text
    assert 'lockgate_authentication_refused_total{door="human",error="no_token"} 1.0' in text
    assert "lockgate_loop_lag_seconds_count" in text
    assert get(f"http://127.0.0.1:{port}/healthz")[0] == 404
    assert get(bare_deployment.url + "/metrics")[0] == 404, "not on the public listener"

    assert gateway.stop() == 0
    # What was left is sent before the process ends.
    sent = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    spans = [span for one in sent for part in one.resource_spans for scope in part.scope_spans for span in scope.spans]
    call = next(span for span in spans if span.name == "lockgate.call")
    assert {item.key: item.value.string_value for item in call.attributes}["lockgate.operation"] == asked[
        "operation_id"
    ]
    decision = next(span for span in spans if span.parent_span_id == call.span_id)
    assert decision.name == "lockgate.decision"
    log = gateway.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["event"] == "call"]
    assert line["operation"] == asked["operation_id"] and line["trace"] == call.trace_id.hex()
    assert CANARY not in text + log and not any(CANARY.encode() in body for body in bodies)


def test_a_collector_that_is_down_delays_and_breaks_nothing(bare_deployment: Any) -> None:
    (nobody,) = free_ports(1)
    configure(bare_deployment, otlp_endpoint=f"http://127.0.0.1:{nobody}")
    gateway = bare_deployment.start("gateway")
    alice = bare_deployment.token("alice")
    assert bare_deployment.ask(
        "set_replicas", "web-dev", {"service": "shop", "replicas": 2}, alice, reason="more customers"
    )
    assert gateway.stop() == 0
