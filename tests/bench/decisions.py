"""Latency of policy decisions with every rule of the library on, alone and until their record is durable; it must not leave out encoding, checks or reading the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.cloudplans import cloud_plan, everything_on
from tests.bench.figures import Figure, percentile

from lockgate.contract.decision import Decision, Question
from lockgate.gateway.admission import decision_entry
from lockgate.gateway.operations.inputs import keep_input
from lockgate.gateway.operations.model import DecisionRecord
from lockgate.gateway.operations.questions import Asked
from lockgate.gateway.store.port import Append, Done, Store
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.policy.bundle import library_with
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.input import build_input
from lockgate.policy.port import PolicyEngine

PLANS = ((5, 300), (200, 60))
"""Changes of a plan, and how many such plans are decided on."""


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


@asynccontextmanager
async def opened(place: Path) -> AsyncIterator[Store]:
    """A store as the gateway opens it."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = SqliteStore(place / "store.db")
    await store.migrate()
    try:
        yield store
    finally:
        await store.close()


@dataclass(frozen=True, slots=True)
class Took:
    """Milliseconds of each decision, and of each until its record was durable."""

    decided: list[float]
    durable: list[float]

    def of(self, name: str, detail: str = "", note: str = "") -> list[Figure]:
        """p50 and p99 of both; goals stand under the name of the last."""
        return [
            Figure(f"{name} p50{detail}", percentile(self.decided, 0.5), "ms", note),
            Figure(f"{name} p50{detail}, durable", percentile(self.durable, 0.5), "ms"),
            Figure(f"{name} p99{detail}", percentile(self.decided, 0.99), "ms"),
            Figure(f"{name} p99{detail}, durable", percentile(self.durable, 0.99), "ms", "until its record and audit entry are committed: one fsync, nobody else writes"),
        ]  # fmt: skip


async def latencies(engine: PolicyEngine, store: Store, question: Question, count: int, changes: int = 0) -> Took:
    """Of a caller who is alone, the document's making excluded. Raises RuntimeError when the engine or the store failed."""
    took = Took([], [])
    documents = [document(question, number, changes) for number in range(count)]
    for item in documents[:20]:
        await engine.decide(question, item)
    for item in documents:
        began = time.perf_counter()
        decision = await engine.decide(question, item)
        took.decided.append((time.perf_counter() - began) * 1000)
        await record(store, item, decision)
        took.durable.append((time.perf_counter() - began) * 1000)
        if any(violation.rule.startswith("lockgate.engine.") for violation in decision.violations):
            raise RuntimeError(f"the engine failed: {decision.violations}")
    return took


async def record(store: Store, item: dict[str, Any], decision: Decision) -> None:
    """The record and the audit entry that the gateway makes of a decision, in one transaction."""
    now = time.time_ns() // 1_000_000
    kept = (
        await asyncio.to_thread(keep_input, item, decision.evaluated)
        if item["plan"]
        else keep_input(item, decision.evaluated)
    )
    made = DecisionRecord(
        id=decision.id,
        tenant=item["tenant"],
        operation=None,
        question=decision.question.value,
        allow=decision.allow,
        document=decision.to_document(),
        input=kept,
        at=now,
    )
    entry = decision_entry(None, item["subject"]["id"], Asked(decision, made))
    outcome = await store.commit(Append((entry,), now, (made,)))
    if not isinstance(outcome, Done):
        raise RuntimeError(f"the decision was not recorded: {outcome}")


async def figures(engine: PolicyEngine, place: Path, name: str, count: int) -> list[Figure]:
    """Requests, then plans, of one engine; `name` is put before each figure's."""
    async with opened(place) as store:
        request = await latencies(engine, store, Question.REQUEST, count)
        note = f"{count} distinct inputs, one at a time: check, encode, evaluate, read the answer"
        found = request.of(f"{name}request decision", note=note)
        for changes, number in PLANS:
            plans = await latencies(engine, store, Question.PLAN, number, changes)
            found += plans.of(f"{name}plan decision", f", {changes} changes")
    return found


async def measure(place: Path, count: int = 3_000) -> list[Figure]:
    """Request decisions in the loop, plan decisions through the worker."""
    engine = EmbeddedEngine(library_with(everything_on(), "everything.json"))
    try:
        return await figures(engine, place / "embedded", "", count)
    finally:
        await engine.close()
