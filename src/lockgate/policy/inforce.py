"""The policy in force behind the PolicyEngine port: it is replaced while questions are being decided. It loads nothing and knows no rule.

Every question is decided by the engine that was in force when it came, to the end; an engine is closed after the last of them. So each decision
names exactly one revision, and no swap drops or mixes one.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final

from lockgate.contract.decision import Decision, Question
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.case import Writer, decision_id
from lockgate.policy.freshness import Clocks, Freshness
from lockgate.policy.needs import Needs, read_needs
from lockgate.policy.port import PolicyEngine
from lockgate.policy.schemas import DocumentRefused

NO_REVISION: Final = "none"
NO_POLICY: Final = "lockgate.engine.no_policy"
STALE: Final = "lockgate.engine.stale"
_EMPTY: Final = PolicyBundle(wasm=b"", data=b"{}", source="no policy")


class NoPolicy:
    """Denies everything: what is in force until a first policy is."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    @property
    def name(self) -> str:
        """No engine."""
        return "none"

    @property
    def revision(self) -> str:
        """No revision."""
        return NO_REVISION

    @property
    def bundle(self) -> PolicyBundle:
        """Nothing in it."""
        return _EMPTY

    @property
    def needs(self) -> Needs:
        """Nothing."""
        return read_needs({})

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        """See PolicyEngine.decide."""
        return refusal(self._writer, self, question, document, (NO_POLICY, ""))

    async def close(self) -> None:
        """There is nothing to close."""


class _Speaks(ABC):
    """Says of itself what its engine says."""

    __slots__ = ()

    @property
    @abstractmethod
    def engine(self) -> PolicyEngine: ...

    @property
    def name(self) -> str:
        """The engine's."""
        return self.engine.name

    @property
    def revision(self) -> str:
        """The engine's; `none` without a policy."""
        return self.engine.revision

    @property
    def bundle(self) -> PolicyBundle:
        """The engine's."""
        return self.engine.bundle

    @property
    def needs(self) -> Needs:
        """The engine's."""
        return self.engine.needs


class Held(_Speaks):
    """One engine and everyone who is using it. As a context it stays open: for whoever makes a document for the engine that will decide on it."""

    __slots__ = ("_clocks", "_engine", "_in_use", "_on_idle", "_writer", "freshness", "retired")

    def __init__(
        self,
        engine: PolicyEngine,
        freshness: Freshness | None,
        clocks: Clocks,
        writer: Writer,
        on_idle: Callable[[PolicyEngine], None],
    ) -> None:
        self._engine, self.freshness = engine, freshness
        self._clocks, self._writer, self._on_idle = clocks, writer, on_idle
        self._in_use, self.retired = 0, False

    @property
    def engine(self) -> PolicyEngine:
        """The one engine."""
        return self._engine

    def __enter__(self) -> Held:
        self._in_use += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._in_use -= 1
        if self.retired and not self._in_use:
            self._on_idle(self.engine)

    @property
    def stale(self) -> str | None:
        """Why it is too old now, or None."""
        return self.freshness.problem(self._clocks) if self.freshness else None

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        """See PolicyEngine.decide; whatever it would say, a policy that is too old says no."""
        with self:
            problem = self.stale
            if problem is not None:
                return refusal(self._writer, self.engine, question, document, (STALE, problem))
            return await self.engine.decide(question, document)

    async def close(self) -> None:
        """Not this one's to close."""

    def retire(self) -> None:
        """No question comes here any more; the engine is closed when nobody uses it."""
        self.retired = True
        if not self._in_use:
            self._on_idle(self.engine)


class PolicyInForce(_Speaks):
    """A PolicyEngine whose engine can be replaced. Belongs to one event loop."""

    def __init__(
        self,
        clocks: Clocks,
        *,
        new_id: Callable[[], str] = decision_id,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """With no policy: everything is denied."""
        self._clocks, self._writer = clocks, Writer(new_id, clock_ns)
        self._closing: set[asyncio.Task[None]] = set()
        self._held = self._hold(NoPolicy(self._writer), None)

    @property
    def engine(self) -> PolicyEngine:
        """The engine in force."""
        return self._held.engine

    @property
    def held(self) -> Held:
        """What is in force now, to be used as one thing: `with policy.held as engine: …`."""
        return self._held

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        """See PolicyEngine.decide."""
        return await self._held.decide(question, document)

    def swap(self, engine: PolicyEngine, freshness: Freshness | None) -> None:
        """Put `engine` in force from the next question on. The one before is closed after its last decision, unless it is the same."""
        old = self._held
        if old.engine is engine:
            self.refresh(freshness)
            return
        self._held = self._hold(engine, freshness)
        old.retire()

    def refresh(self, freshness: Freshness | None) -> None:
        """The same policy was released again: it may get older now."""
        self._held.freshness = freshness

    async def close(self) -> None:
        """Close the engine in force, and wait for those before it."""
        self._held.retire()
        while self._closing:
            await asyncio.gather(*self._closing)

    def _hold(self, engine: PolicyEngine, freshness: Freshness | None) -> Held:
        return Held(engine, freshness, self._clocks, self._writer, self._close_engine)

    def _close_engine(self, engine: PolicyEngine) -> None:
        task = asyncio.get_running_loop().create_task(engine.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def refusal(
    writer: Writer, engine: PolicyEngine, question: Question, document: Mapping[str, Any], why: tuple[str, str]
) -> Decision:
    """A no that no engine was asked for; it names the document all the same, if it is one."""
    case = writer.begin(question)
    try:
        case = case.encoded(document)
        case.require_fit(document)
        rule, detail = why
    except DocumentRefused as refused:
        rule, detail = "lockgate.engine.input", str(refused)
    return writer.denied(case, rule, detail, revision=engine.revision, engine=engine.name)
