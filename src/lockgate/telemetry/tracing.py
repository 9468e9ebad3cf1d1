"""Spans: made by OpenTelemetry and sent by OTLP only where an endpoint is configured; without one they cost next to nothing.

Attributes are ids, states and names of the catalog. It MUST NOT be given an argument's value, a reason, a token or a tool's output
(invariant 10; tests/unit/gateway/test_observed.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import NoOpTracer, Tracer

import lockgate

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

FLUSH_MS: Final = 5_000
_MISSING: Final = (
    "traces are sent by a part that is not installed; pip install 'lockgate[otlp]', or leave the endpoint out"
)


class TracingUnavailable(Exception):
    """Traces were asked for and cannot be sent; the text names the setting and the fix."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """A tracer, and what must be told when the process ends."""

    tracer: Tracer
    provider: TracerProvider | None = None

    def close(self) -> None:
        """Send what is left, at most five seconds, and end. Blocks; idempotent."""
        if self.provider is not None:
            self.provider.force_flush(FLUSH_MS)
            self.provider.shutdown()


def untraced() -> Tracing:
    """No endpoint, no spans."""
    return Tracing(NoOpTracer())


def open_tracing(service: str, endpoint: str | None, share: float) -> Tracing:
    """Spans of `service` to an OTLP/HTTP collector at `endpoint` (its base URL), a `share` (0 to 1) of all traces. Raises TracingUnavailable.

    Headers a collector demands come from OTEL_EXPORTER_OTLP_HEADERS, as for every OpenTelemetry program: they may be secret.
    """
    if endpoint is None:
        return untraced()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise TracingUnavailable(f"telemetry.otlp_endpoint: {_MISSING}") from None
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    resource = Resource({"service.name": service, "service.version": lockgate.__version__})
    provider = TracerProvider(sampler=TraceIdRatioBased(share), resource=resource, shutdown_on_exit=False)
    # The batch is bounded (2,048 spans) and sent by a thread of its own: a slow collector loses spans, and delays no call.
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces")))
    return Tracing(provider.get_tracer("lockgate"), provider)
