"""Makes recorded decisions again under the policies that the store kept for them, page by page; it writes nothing and asks no gateway."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from lockgate.gateway.operations.inputs import InputDamaged
from lockgate.gateway.operations.model import DecisionRecord
from lockgate.gateway.operations.records import recorded
from lockgate.gateway.store.port import Decisions, GetBundle, Store
from lockgate.gateway.vouching import Log
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.keeping import unpacked
from lockgate.policy.port import PolicyEngine, PolicyLoadError
from lockgate.policy.replay import UNHURRIED, Replayed, Verdict, replay

MAX_OPEN: Final = 4
"""Engines that are kept open at once: decisions come in the order of time, so that revisions change seldom."""

Make = Callable[[PolicyBundle], Awaitable[PolicyEngine]]


async def embedded(bundle: PolicyBundle) -> PolicyEngine:
    """The engine inside this program, in no hurry. Raises PolicyLoadError."""
    return EmbeddedEngine(bundle, UNHURRIED)


@dataclass(frozen=True, slots=True)
class Again:
    """One record and what became of it: by the name of each kind of engine that was asked."""

    record: DecisionRecord
    found: dict[str, Replayed]

    @property
    def verdict(self) -> Verdict:
        """The worst of all engines: altered, damaged, different, unknown, same."""
        return max((item.verdict for item in self.found.values()), key=_BADNESS.index)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "decision": self.record.id,
            "at": self.record.at,
            "operation": self.record.operation,
            "question": self.record.question,
            "revision": self.record.revision,
            "verdict": self.verdict.value,
            "hidden": list(self.record.hidden),
            "masked": list(self.record.masked),
            "engines": {
                name: {"verdict": item.verdict.value, "why": item.why, "differences": list(item.differences)}
                for name, item in self.found.items()
            },
        }


_BADNESS: Final = (Verdict.SAME, Verdict.UNKNOWN, Verdict.DIFFERENT, Verdict.DAMAGED, Verdict.ALTERED)


@dataclass(slots=True)
class Policies:
    """Engines of the revisions that a store kept, opened as they are asked for. Close it after use."""

    store: Store
    makers: dict[str, Make] = field(default_factory=lambda: {"embedded": embedded})
    _open: OrderedDict[str, dict[str, PolicyEngine] | str] = field(default_factory=OrderedDict)

    async def of(self, revision: str) -> dict[str, PolicyEngine] | str:
        """The engines by kind, or why there are none."""
        if revision not in self._open:
            while len(self._open) >= MAX_OPEN:
                await _close(self._open.popitem(last=False)[1])
            self._open[revision] = await self._opened(revision)
        self._open.move_to_end(revision)
        return self._open[revision]

    async def close(self) -> None:
        """Every engine; any number of times."""
        while self._open:
            await _close(self._open.popitem()[1])

    async def _opened(self, revision: str) -> dict[str, PolicyEngine] | str:
        data = await self.store.read(GetBundle(revision))
        if data is None:
            return f"the policy {revision} is not kept"
        made: dict[str, PolicyEngine] = {}
        try:
            bundle = unpacked(data, revision)
            for name, make in self.makers.items():
                made[name] = await make(bundle)
        except PolicyLoadError as error:
            await _close(made)
            return f"the policy that is kept cannot be used: {error}"
        return made


async def _close(engines: dict[str, PolicyEngine] | str) -> None:
    for engine in engines.values() if isinstance(engines, dict) else ():
        await engine.close()


async def selected(store: Store, query: Decisions) -> AsyncIterator[DecisionRecord]:
    """Every decision that a query selects, page by page. Raises StoreError."""
    after: str | None = query.after
    while page := await store.read(replace(query, after=after)):
        for record in page:
            yield record
        after = page[-1].id


async def again(policies: Policies, log: Log, record: DecisionRecord) -> Again:
    """One decision, made again by every engine that is asked for. Never raises for what is recorded.

    First it must be the one that the log speaks of: whoever changed a record may have changed it so that it answers the same.
    """
    if why := await log.says(record):
        return Again(record, {"log": Replayed(record.id, Verdict.ALTERED, b"", None, why=why)})
    try:
        was = recorded(record)
    except (InputDamaged, ValueError) as error:
        return Again(record, {"embedded": Replayed(record.id, Verdict.DAMAGED, b"", None, why=str(error))})
    engines = await policies.of(record.revision)
    if isinstance(engines, str):
        return Again(record, {"embedded": Replayed(record.id, Verdict.UNKNOWN, b"", None, why=engines)})
    return Again(record, {name: await replay(engine, was) for name, engine in engines.items()})
