"""Lets a second policy decide along, in a thread of its own; it never answers anyone, and nothing here can make the real decision wait or fail.

What is handed over is the very document that was decided on, after it was decided on. Each comparison is held to the digest of the bytes that both
evaluated: one of different bytes is `unknown`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

from lockgate.contract.decision import Decision, Question
from lockgate.policy.comparison import Change, Compared, compare, lacking
from lockgate.policy.needs import Needs
from lockgate.policy.port import PolicyEngine

ROOM: Final = 256
"""How many decisions may wait for the shadow."""
ROOM_FOR_PLANS: Final = 4
"""How many of them may carry a plan: one may be megabytes."""


@dataclass(frozen=True, slots=True)
class _Case:
    question: Question
    document: Mapping[str, Any]
    decision: Decision
    told: Needs


class Shadow:
    """One second engine, its thread and its bounded queue. The engine is this object's own: `close` closes it too."""

    def __init__(
        self,
        engine: PolicyEngine,
        note: Callable[[Compared, Mapping[str, Any]], None],
        *,
        room: int = ROOM,
        room_for_plans: int = ROOM_FOR_PLANS,
    ) -> None:
        """`note` gets each comparison and its document, in the shadow's thread; it must be quick, and keep no document."""
        self._engine, self._note = engine, note
        self._room, self._room_for_plans = room, room_for_plans
        self._waiting, self._plans = 0, 0
        self._lock = threading.Lock()
        self._cases: SimpleQueue[_Case | None] = SimpleQueue()
        self._closed = False
        self.fault = ""
        # A daemon: a process that ends without closing its shadow does not wait for it.
        self._thread = threading.Thread(target=self._run, name="lockgate-shadow", daemon=True)
        self._thread.start()

    @property
    def revision(self) -> str:
        """The second policy's."""
        return self._engine.revision

    def offer(self, question: Question, document: Mapping[str, Any], decision: Decision, told: Needs) -> bool:
        """Hand a decision over, if there is room; False: it was dropped. `told`: what the policy that made it wants to be told. MUST NOT wait, raise or change anything of it
        (tests/unit/policy/test_shadow.py::test_a_busy_shadow_drops_and_never_makes_its_caller_wait)."""
        plan = document.get("plan") is not None
        with self._lock:
            full = self._waiting >= self._room or (plan and self._plans >= self._room_for_plans)
            if full or self._closed or self.fault:
                return False
            self._waiting += 1
            self._plans += plan
        self._cases.put(_Case(question, document, decision, told))
        return True

    async def close(self) -> None:
        """Finish what is being decided, drop what waits, let go of thread and engine; any number of times."""
        if not self._closed:
            self._closed = True
            self._cases.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        # A loop of its own, for the engine's own awaiting: the gateway's loop never turns for the shadow.
        asyncio.run(self._until_it_ends())

    async def _until_it_ends(self) -> None:
        """An engine that breaks its promise not to raise ends its shadow, and nothing else."""
        deciding = asyncio.create_task(self._decide_along())
        await asyncio.wait([deciding])
        error = deciding.exception()
        if error is not None:
            self.fault = f"the shadow's engine ended: {type(error).__name__}"
        await self._engine.close()

    async def _decide_along(self) -> None:
        while (case := self._cases.get()) is not None and not self._closed:
            self._note(await self._compared(case), case.document)
            with self._lock:
                self._waiting -= 1
                self._plans -= case.document.get("plan") is not None

    async def _compared(self, case: _Case) -> Compared:
        missing = lacking(self._engine.needs, case.document, case.told)
        if missing:
            return Compared(Change.UNKNOWN, case.decision, case.decision, missing)
        return compare(case.decision, await self._engine.decide(case.question, case.document))
