"""One call is two spans, a few counts and one log line, and none of them holds what the caller wrote."""

from __future__ import annotations

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.invariants.gate import Gate
from tests.invariants.parties import agent, human

from lockgate.gateway.errors import BadInput
from lockgate.gateway.identity.port import Audience, Unauthenticated
from lockgate.telemetry.tracing import Tracing

CANARY = "canary-5d1f"


@pytest.fixture
def spans(gate: Gate) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    gate.core.observer.tracing = Tracing(provider.get_tracer("test"), provider)
    return exporter


def counted(gate: Gate) -> str:
    return gate.core.observer.metrics.text().decode()


async def test_a_call_is_two_spans_and_one_line_with_the_same_ids(gate: Gate, spans: InMemorySpanExporter) -> None:
    with structlog.testing.capture_logs() as lines:
        operation = await gate.ask(reason=f"for {CANARY}")
    decision, call = spans.get_finished_spans()
    assert (decision.name, call.name) == ("lockgate.decision", "lockgate.call")
    assert decision.parent is not None and decision.parent.span_id == call.context.span_id
    assert dict(call.attributes or {}) == {"lockgate.outcome": "queued", "lockgate.operation": operation.id}
    assert dict(decision.attributes or {})["lockgate.decision"] == operation.decision
    (line,) = lines
    assert line["operation"] == operation.id and line["decision"] == operation.decision
    assert line["trace"] == format(call.context.trace_id, "032x")
    assert CANARY not in repr(lines) + "".join(span.to_json() for span in spans.get_finished_spans())


async def test_a_denial_is_counted_by_its_rules_and_logged_with_them(gate: Gate) -> None:
    with structlog.testing.capture_logs() as lines:
        operation = await gate.ask(agent(roles=()))
    assert operation.state.value == "denied"
    assert lines[0]["rules"] == [reason.rule for reason in operation.reasons]
    text = counted(gate)
    assert f'lockgate_denials_total{{rule="{operation.reasons[0].rule}"}} 1.0' in text
    assert 'lockgate_decisions_total{answer="deny",question="request"} 1.0' in text
    assert 'lockgate_calls_total{outcome="denied"} 1.0' in text
    assert 'lockgate_operations_ended_total{state="denied"} 1.0' in text
    assert 'lockgate_audit_entries_total{kind="decision.made"} 1.0' in text


async def test_what_a_caller_is_not_shown_is_no_denial(gate: Gate) -> None:
    await gate.desk.actions(agent(roles=()))
    text = counted(gate)
    assert 'answer="deny",question="list"' in text
    assert "lockgate_denials_total{" not in text


async def test_a_refused_call_is_counted_and_its_text_goes_nowhere(gate: Gate, spans: InMemorySpanExporter) -> None:
    with structlog.testing.capture_logs() as lines, pytest.raises(BadInput):
        await gate.ask(target=CANARY)
    assert lines == []
    assert 'lockgate_calls_total{outcome="bad_input"} 1.0' in counted(gate)
    (call,) = spans.get_finished_spans()
    assert call.events == () and CANARY not in call.to_json()


async def test_attempts_and_unproven_teardowns_are_counted(gate: Gate) -> None:
    await gate.ask()
    await gate.runner().take()
    gate.clock.advance(3_600_000)
    from lockgate.gateway.scheduling.sweep import sweep

    await sweep(gate.core)
    text = counted(gate)
    assert 'lockgate_attempts_total{phase="plan",state="leased"} 1.0' in text
    assert 'lockgate_attempts_total{phase="plan",state="unproven"} 1.0' in text
    assert "lockgate_teardown_unproven_total 1.0" in text


async def test_a_control_that_changes_nothing_counts_no_entry(gate: Gate) -> None:
    carol = human("carol", "admin")
    await gate.desk.freeze(carol, "target:web-dev", True, "let it rest")
    await gate.desk.freeze(carol, "target:web-dev", True, "let it rest")
    frozen = [entry for entry in counted(gate).splitlines() if 'kind="freeze.set"' in entry]
    assert frozen == ['lockgate_audit_entries_total{kind="freeze.set"} 1.0']


def test_refused_tokens_are_counted_by_door(gate: Gate) -> None:
    observer = gate.core.observer
    observer.unauthenticated(Audience.AGENT, Unauthenticated(None, "no bearer token was sent"))
    observer.unauthenticated(Audience.HUMAN, Unauthenticated("invalid_token", "exp"))
    text = counted(gate)
    assert 'lockgate_authentication_refused_total{door="agent",error="no_token"} 1.0' in text
    assert 'lockgate_authentication_refused_total{door="human",error="invalid_token"} 1.0' in text
