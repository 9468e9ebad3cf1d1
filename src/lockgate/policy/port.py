"""The port through which the gateway asks policy; it names no engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lockgate.contract.decision import Decision, Question
from lockgate.policy.needs import Needs

if TYPE_CHECKING:
    from lockgate.policy.bundle import PolicyBundle


class PolicyLoadError(Exception):
    """A policy bundle or its data cannot be used; what was loaded before stays in force.

    Says which file and, where there is one, which line and field; correct it and load again.
    """

    permanent = True

    def __init__(self, file: str, problem: str, *, line: int | None = None, field: str | None = None) -> None:
        self.file, self.problem, self.line, self.field = file, problem, line, field
        where = file if line is None else f"{file}:{line}"
        super().__init__(f"{where}: {field}: {problem}" if field else f"{where}: {problem}")


@runtime_checkable
class PolicyEngine(Protocol):
    """Answers questions under one fixed policy. A reload makes a new engine; an engine never changes its mind.

    `revision` is "sha256:…" over the policy and its data; it stands in every decision.
    """

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str: ...

    @property
    def bundle(self) -> PolicyBundle:
        """What it decides under, of `revision`: kept beside the decisions, so that they can be made again."""
        ...

    @property
    def needs(self) -> Needs:
        """What its policy data wants to be told of the past. A document made for another engine may lack it, and is denied by the rule it fails."""
        ...

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        """Decide on a policy input v1 document (`lockgate.policy.input.build_input`).

        MUST NOT raise for anything policy, engine or document do wrong: whatever is not a well-formed yes is a
        denying Decision whose rule names the cause (invariant 4; tests/contracts/test_policy_engine.py).
        """
        ...

    async def close(self) -> None:
        """Let go of threads and memory; any number of times. Afterwards `decide` denies."""
        ...
