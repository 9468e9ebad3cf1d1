"""One question on its way through an engine: encoded and checked once, then written down as a Decision. It evaluates nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.contract.decision import Decision, Provenance, Question
from lockgate.policy.input import encode_input, input_sha256, require_finite, require_shape
from lockgate.policy.output import Answer
from lockgate.policy.schemas import DocumentRefused


def decision_id() -> str:
    """A fresh decision id: 128 random bits."""
    return "dec_" + secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Case:
    """`document` is what is evaluated, `sha256` its digest; both are empty for what is no JSON."""

    question: Question
    started_ns: int
    document: bytes = b""
    sha256: str = ""

    def encoded(self, document: Mapping[str, Any]) -> Case:
        """The case with its document, fit or not: a refusal names what it refused. Raises DocumentRefused for what is no JSON."""
        require_finite(document)
        encoded = encode_input(document)
        return Case(self.question, self.started_ns, encoded, input_sha256(encoded))

    def require_fit(self, document: Mapping[str, Any]) -> None:
        """Raises DocumentRefused for what is no policy input v1, or answers another question."""
        require_shape(document)
        if document["question"] != self.question.value:
            raise DocumentRefused("question", f"is not {self.question.value!r}, which was asked")


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes decisions. `clock_ns` is monotonic nanoseconds, the same that `Case.started_ns` came from."""

    new_id: Callable[[], str]
    clock_ns: Callable[[], int]

    def begin(self, question: Question) -> Case:
        """A case that begins now."""
        return Case(question, self.clock_ns())

    def answer(self, case: Case, answer: Answer, *, revision: str, engine: str) -> Decision:
        """What policy answered under `revision`."""
        provenance = self._provenance(case, revision, engine)
        told = answer.readings, answer.exceptions
        return Decision.of(case.question, answer.violations, answer.obligations, provenance, *told)

    def denied(self, case: Case, rule: str, detail: str, *, revision: str, engine: str) -> Decision:
        """The engine's own no."""
        details = {"problem": detail} if detail else {}
        return Decision.denied(case.question, rule, self._provenance(case, revision, engine), details)

    def _provenance(self, case: Case, revision: str, engine: str) -> Provenance:
        return Provenance(
            id=self.new_id(),
            revision=revision,
            engine=engine,
            input_sha256=case.sha256,
            evaluated=case.document,
            duration_us=(self.clock_ns() - case.started_ns) // 1000,
        )
