"""Latency of policy decisions on the shipped engine with every rule of the library on; it must not leave out encoding, checks or reading the answer."""

from __future__ import annotations

import time
from typing import Any

from tests.bench.cloudplans import cloud_plan, everything_on
from tests.bench.figures import Figure, percentile

from lockgate.contract.decision import Question
from lockgate.policy.bundle import library_with
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.input import build_input
from lockgate.policy.port import PolicyEngine


def document(question: Question, number: int, changes: int = 0) -> dict[str, Any]:
    """A policy input as the gateway makes it, different for every `number`."""
    subject = {
        "id": f"lockgate:bench#agent-{number % 64}",
        "issuer": "lockgate:bench",
        "subject": f"agent-{number % 64}",
        "kind": "agent",
        "owner": "lockgate:bench#alice",
        "on_behalf_of": None,
        "roles": ["operator"],
        "authentication": {"method": "jwt", "audience": "http://127.0.0.1:8400/mcp", "auth_time": None},
    }
    return build_input(
        question=question,
        tenant="default",
        subject=subject,
        action={"name": "set_replicas", "driver": "runbook", "effect": "change", "risk": "low"},
        target={"name": f"web-{number % 8}", "environment": "dev", "region": "local", "labels": {"tier": "web"}},
        arguments={"service": f"service-{number}", "replicas": number % 21, "note": "x" * 120},
        reason="the service is slow under the load of this week",
        plan=cloud_plan(number, changes) if changes else None,
        approvals=[],
        context={"now": "2026-11-23T12:00:00Z", "freeze": False, "requester": None},
    )


async def latencies(engine: PolicyEngine, question: Question, count: int, changes: int = 0) -> list[float]:
    """Milliseconds of each decision, the document's making excluded. Raises RuntimeError when the engine itself failed."""
    took = []
    documents = [document(question, number, changes) for number in range(count)]
    for item in documents[:20]:
        await engine.decide(question, item)
    for item in documents:
        began = time.perf_counter()
        decision = await engine.decide(question, item)
        took.append((time.perf_counter() - began) * 1000)
        if any(violation.rule.startswith("lockgate.engine.") for violation in decision.violations):
            raise RuntimeError(f"the engine failed: {decision.violations}")
    return took


async def measure(count: int = 3_000) -> list[Figure]:
    """Request decisions in the loop, plan decisions through the worker."""
    engine = EmbeddedEngine(library_with(everything_on(), "everything.json"))
    try:
        request = await latencies(engine, Question.REQUEST, count)
        small = await latencies(engine, Question.PLAN, 300, changes=5)
        large = await latencies(engine, Question.PLAN, 60, changes=200)
    finally:
        await engine.close()
    note = f"{count} distinct inputs: check, encode, evaluate, read the answer"
    return [
        Figure("request decision p50", percentile(request, 0.5), "ms", note=note),
        Figure("request decision p99", percentile(request, 0.99), "ms"),
        Figure("plan decision p99, 5 changes", percentile(small, 0.99), "ms"),
        Figure("plan decision p99, 200 changes", percentile(large, 0.99), "ms"),
    ]
