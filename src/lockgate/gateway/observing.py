"""Tells telemetry what the gateway did: one call is two spans, a few counts and one log line. It must not change what is done.

What goes out are ids, states, rules and names of the catalog: never an argument's value, a reason, a token or an error's text, which may
hold either (invariant 10).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from opentelemetry.trace import INVALID_SPAN, Span

from lockgate.contract.decision import ENGINE_FAULTS, Decision, Question
from lockgate.contract.intent import Principal
from lockgate.gateway.errors import Refusal
from lockgate.gateway.friction import denied_by_rule
from lockgate.gateway.identity.port import Audience, Unauthenticated
from lockgate.gateway.operations.attempts import AttemptState
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.store.port import Admit, AttemptChange, Command, Control, Forget, KeepBundle, Transition
from lockgate.policy.port import PolicyEngine
from lockgate.telemetry.metrics import Metrics
from lockgate.telemetry.names import Counted, SpanName, Timed
from lockgate.telemetry.tracing import Tracing, untraced

LOG = structlog.get_logger("lockgate.calls")
FAILED = "failed_inside"
NO_TOKEN = "no_token"  # noqa: S105  (a label, no secret)


@dataclass(slots=True)
class Observer:
    """The telemetry of one gateway process. `clock` is monotonic seconds."""

    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing = field(default_factory=untraced)
    clock: Callable[[], float] = time.perf_counter
    longest_lag: float = 0.0

    async def call(self, principal: Principal, action: str, work: Awaitable[Operation]) -> Operation:
        """Await one governed call up to its durable record. A refused one is counted; only an operation is worth a line. Raises what `work` does."""
        began, outcome = self.clock(), FAILED
        with self._span(SpanName.CALL) as span:
            try:
                operation = await work
                outcome = operation.state.value
            except Refusal as refusal:
                outcome = refusal.code
                raise
            finally:
                seconds = self.clock() - began
                self.metrics.count(Counted.CALLS, outcome)
                self.metrics.time(Timed.CALL, seconds)
                span.set_attribute("lockgate.outcome", outcome)
            span.set_attribute("lockgate.operation", operation.id)
            _log(principal, action, operation, seconds, span)
        return operation

    async def decide(self, engine: PolicyEngine, question: Question, document: Mapping[str, Any]) -> Decision:
        """Have one question decided."""
        began = self.clock()
        with self._span(SpanName.DECISION) as span:
            decision = await engine.decide(question, document)
            answer = "allow" if decision.allow else "wait" if decision.waitable else "deny"
            span.set_attribute("lockgate.question", question.value)
            span.set_attribute("lockgate.answer", answer)
            span.set_attribute("lockgate.decision", decision.id)
        self.metrics.time(Timed.DECISION, self.clock() - began, question.value)
        self.metrics.count(Counted.DECISIONS, question.value, answer)
        if answer == "deny":
            self._faults(decision)
        if answer == "deny" and question is not Question.LIST:
            # What a caller is not shown was not denied to them: they did not ask for it.
            for violation in decision.violations:
                self.metrics.count_rule(violation.rule)
        return decision

    def _faults(self, decision: Decision) -> None:
        """The engine's own denials, `list` among them: where they are many, nobody may do anything."""
        for violation in decision.violations:
            if violation.rule in ENGINE_FAULTS:
                self.metrics.count(Counted.POLICY_FAULTS, violation.rule)

    def committed(self, command: Command, *, moved: bool) -> None:
        """A command is durable; `moved` says whether the epoch did: a control that changed nothing left no entry."""
        if isinstance(command, Forget | KeepBundle) or (isinstance(command, Control) and not moved):
            return
        for entry in command.entries:
            self.metrics.count(Counted.AUDIT_ENTRIES, entry.kind.value)
        if isinstance(command, Transition):
            for change in command.attempts:
                self._attempt(change)
        if isinstance(command, Admit | Transition) and command.operation is not None and command.operation.place.final:
            ended = command.operation
            self.metrics.count(Counted.OPERATIONS_ENDED, ended.state.value)
            if denied_by_rule(ended.state, [reason.rule for reason in ended.reasons]):
                self.metrics.count(Counted.REQUESTS_DENIED)

    def _attempt(self, change: AttemptChange) -> None:
        attempt = change.attempt
        if attempt.state is change.expected:
            return
        self.metrics.count(Counted.ATTEMPTS, attempt.phase.value, attempt.state.value)
        if attempt.state is AttemptState.UNPROVEN:
            self.metrics.count(Counted.TEARDOWN_UNPROVEN)

    def unauthenticated(self, audience: Audience, refused: Unauthenticated) -> None:
        """A token was refused at a door."""
        self.metrics.count(Counted.AUTHENTICATION_REFUSED, audience.value, refused.error or NO_TOKEN)

    def lagged(self, seconds: float) -> None:
        """The event loop was late."""
        self.metrics.time(Timed.LOOP_LAG, seconds)
        self.longest_lag = max(self.longest_lag, seconds)

    def _span(self, name: SpanName) -> Any:
        if self.tracing.provider is None:
            return _UNTRACED
        # Never record_exception: an error's text may name a value.
        return self.tracing.tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)


_UNTRACED: Final = nullcontext(INVALID_SPAN)
"""Where nobody receives spans none is begun, nor a context entered for it: that alone took a twentieth of a call."""


def _log(principal: Principal, action: str, operation: Operation, seconds: float, span: Span) -> None:
    context = span.get_span_context()
    more: dict[str, Any] = {"rules": [reason.rule for reason in operation.reasons]} if operation.reasons else {}
    if context.is_valid:
        more["trace"] = format(context.trace_id, "032x")
    LOG.info(
        "call",
        operation=operation.id,
        decision=operation.decision,
        tenant=operation.tenant,
        principal=principal.id,
        action=action,
        target=operation.target,
        state=operation.state.value,
        ms=round(seconds * 1000, 2),
        **more,
    )
