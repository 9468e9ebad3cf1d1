"""The embedded engine: OPA's Wasm target on wasmtime behind the PolicyEngine port; it loads nothing and knows no rule."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final

from lockgate.contract.decision import Decision, Question
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.case import Case, Writer, decision_id
from lockgate.policy.characters import require_whole_characters
from lockgate.policy.compile import entrypoint
from lockgate.policy.failure import EvaluationFailed
from lockgate.policy.needs import Needs
from lockgate.policy.output import Answer, read_output
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.schemas import DocumentRefused
from lockgate.policy.wasm import Bounds, ModuleRefused, PolicyInstance, PolicyModule, only_value

ENGINE_NAME: Final = f"opa-wasm/{version('wasmtime')}"
SLOW_QUESTIONS: Final = frozenset({Question.PLAN, Question.APPLY, Question.APPROVE})
"""Questions that carry a plan: decided in the worker thread, with the longer deadline."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """`loop` bounds decisions made in the event loop, `worker` those in the thread; `worker_queue` is how many may wait.

    A document above `loop_input_bytes` goes to the worker whatever the question is.
    """

    loop: Bounds = field(default_factory=lambda: Bounds(memory_bytes=64 << 20, input_bytes=1 << 20, seconds=0.05))
    worker: Bounds = field(default_factory=lambda: Bounds(memory_bytes=256 << 20, input_bytes=16 << 20, seconds=1.0))
    loop_input_bytes: int = 64 << 10
    worker_queue: int = 64


MEMO_ANSWERS: Final = 256
MEMO_BYTES: Final = 4096
"""How many answers, of how many bytes at most, an instance remembers as read: most callers get the same few."""

AWAY_NS: Final = 30 * 10**9
"""For how long a question that was too slow for the event loop is kept out of it: a slow policy holds the loop up for one deadline in so long."""

_UNHARMED: Final = frozenset({"lockgate.engine.undefined", "lockgate.engine.input_size"})
"""Failures after which an instance is as good as before."""


class _Bench:
    """One instance, used by one thread; replaced by a new one after every failure."""

    def __init__(self, module: PolicyModule, bundle: PolicyBundle, bounds: Bounds) -> None:
        self._module, self._bundle, self._bounds = module, bundle, bounds
        self._instance: PolicyInstance | None = None
        self._read: dict[bytes, Answer] = {}

    def prepare(self) -> PolicyInstance:
        if self._instance is None:
            self._instance = PolicyInstance(self._module, self._bundle.data, self._bounds)
        return self._instance

    def decide(self, question: Question, document: bytes) -> Answer:
        """Raises EvaluationFailed; then the next evaluation starts on a new instance, unless this one is unharmed.

        An answer that is the same bytes as one before is not read again.
        """
        name = entrypoint(question)
        try:
            instance = self.prepare()
        except ModuleRefused as refused:
            raise EvaluationFailed("lockgate.engine.unavailable", str(refused)) from refused
        self._instance = None  # until it has proven itself again
        try:
            text = instance.result(name, document)
            known = self._read.get(text)
            value = None if known is not None else only_value(text, name)
        except EvaluationFailed as failed:
            if failed.rule in _UNHARMED:
                self._instance = instance
            raise
        self._instance = instance
        return known if known is not None else self._remember(text, read_output(value, self._bundle.rules))

    def _remember(self, text: bytes, answer: Answer) -> Answer:
        if len(text) <= MEMO_BYTES:
            if len(self._read) >= MEMO_ANSWERS:
                self._read.pop(next(iter(self._read)))
            self._read[text] = answer
        return answer


class EmbeddedEngine:
    """Decides small questions in the event loop and those with a plan in one worker thread (ARCHITECTURE §9).

    A question that ran into the loop's deadline is decided in the worker for `AWAY_NS`, still with the loop's deadline: a slow policy
    costs its own callers, not everyone else's. Then the loop tries it again: it may have been the machine that was slow.
    """

    def __init__(
        self,
        bundle: PolicyBundle,
        settings: EngineSettings | None = None,
        *,
        new_id: Callable[[], str] = decision_id,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Compiles the module and parses the data. Raises PolicyLoadError."""
        self._settings, self._bundle = settings or EngineSettings(), bundle
        self._revision = bundle.revision  # hashes the whole module: once
        self._needs = bundle.needs
        self._writer = Writer(new_id, clock_ns)
        try:
            self._module = PolicyModule(bundle.wasm)
        except ModuleRefused as refused:
            raise PolicyLoadError(bundle.source, str(refused)) from refused
        self._loop_bench = _Bench(self._module, bundle, self._settings.loop)
        self._slow_bench = _Bench(self._module, bundle, self._settings.loop)
        self._worker_bench = _Bench(self._module, bundle, self._settings.worker)
        try:
            self._loop_bench.prepare()
        except (ModuleRefused, EvaluationFailed) as refused:
            self._module.close()
            raise PolicyLoadError(bundle.source, f"cannot be started: {refused}") from refused
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lockgate-policy")
        self._waiting, self._closed = 0, False
        self._waiting_lock = threading.Lock()
        self._away: dict[Question, int] = {}
        self._clock_ns = clock_ns

    @property
    def name(self) -> str:
        return ENGINE_NAME

    @property
    def revision(self) -> str:
        return self._revision

    @property
    def bundle(self) -> PolicyBundle:
        return self._bundle

    @property
    def needs(self) -> Needs:
        return self._needs

    @property
    def unanswered(self) -> tuple[Question, ...]:
        """The questions that the module has no entry point for."""
        known = self._loop_bench.prepare().entrypoints
        return tuple(question for question in Question if entrypoint(question) not in known)

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        """See PolicyEngine.decide: never raises for policy, engine or document."""
        case = self._writer.begin(question)
        try:
            case = case.encoded(document)
            case.require_fit(document)
            require_whole_characters(document, case.document)
            answer = await self._evaluate(case)
            return self._writer.answer(case, answer, revision=self._revision, engine=ENGINE_NAME)
        except EvaluationFailed as failed:
            return self._denied(case, failed.rule, failed.detail)
        except DocumentRefused as refused:
            return self._denied(case, "lockgate.engine.input", str(refused))

    async def close(self) -> None:
        """See PolicyEngine.close."""
        if not self._closed:
            await asyncio.get_running_loop().run_in_executor(None, self.shut_down)

    def shut_down(self) -> None:
        """As `close`, for a thread of its own: it waits for the worker."""
        self._closed = True
        self._worker.shutdown(wait=True)
        self._module.close()

    async def _evaluate(self, case: Case) -> Answer:
        if self._closed:
            raise EvaluationFailed("lockgate.engine.unavailable", "the engine is closed")
        if case.question in SLOW_QUESTIONS or len(case.document) > self._settings.loop_input_bytes:
            return await self._in_worker(self._worker_bench, case)
        if self._clock_ns() < self._away.get(case.question, 0):
            return await self._in_worker(self._slow_bench, case)
        try:
            return self._loop_bench.decide(case.question, case.document)
        except EvaluationFailed as failed:
            if failed.rule == "lockgate.engine.timeout":
                self._away[case.question] = self._clock_ns() + AWAY_NS
            raise

    async def _in_worker(self, bench: _Bench, case: Case) -> Answer:
        with self._waiting_lock:
            if self._waiting >= self._settings.worker_queue:
                raise EvaluationFailed("lockgate.engine.busy")
            self._waiting += 1
        job = self._worker.submit(self._work, bench, case)
        job.add_done_callback(self._worker_done)
        return await asyncio.wrap_future(job)  # a caller that gives up takes back a job that has not begun

    def _work(self, bench: _Bench, case: Case) -> Answer:
        if self._closed:
            raise EvaluationFailed("lockgate.engine.unavailable", "the engine is closed")
        return bench.decide(case.question, case.document)

    def _worker_done(self, _: Future[Any]) -> None:
        with self._waiting_lock:
            self._waiting -= 1

    def _denied(self, case: Case, rule: str, detail: str) -> Decision:
        return self._writer.denied(case, rule, detail, revision=self._revision, engine=ENGINE_NAME)


def complete_engine(bundle: PolicyBundle, settings: EngineSettings | None = None) -> EmbeddedEngine:
    """An engine that answers all ten questions. Blocks (compiles a module). Raises PolicyLoadError, naming the questions it does not answer."""
    engine = EmbeddedEngine(bundle, settings)
    if unanswered := engine.unanswered:
        engine.shut_down()
        names = ", ".join(entrypoint(question) for question in unanswered)
        raise PolicyLoadError(
            bundle.source, f"has no entry point {names}; build it with `lockgate policy build`", field="lockgate.wasm"
        )
    return engine
