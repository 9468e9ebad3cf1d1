"""Shadow mode at the gateway: counts how a second policy would have decided, and logs a bounded share of the differences. It never answers a caller."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from lockgate.contract.decision import Decision, Question
from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.core import Core
from lockgate.gateway.errors import Refusal
from lockgate.gateway.store.port import Append, StoreError
from lockgate.policy.comparison import GRAVITY, Change, Compared, answer_of, rules_of
from lockgate.policy.embedded import complete_engine
from lockgate.policy.needs import Needs
from lockgate.policy.port import PolicyEngine, PolicyLoadError
from lockgate.policy.shadow import Shadow
from lockgate.policy.sources.named import named_source, unsigned_bundle
from lockgate.policy.sources.port import SourceUnavailable
from lockgate.telemetry.metrics import Metrics
from lockgate.telemetry.names import Counted

LOG = structlog.get_logger("lockgate.gateway")
MINUTE_MS: Final = 60_000
PER_KIND: Final = 5
"""Entries a minute for one question, change and set of rules."""
PER_MINUTE: Final = 60
"""Entries a minute for all of them: shadowing cannot flood the log."""
MAX_KINDS: Final = 200
MAX_RULES: Final = 20
MAX_NAME: Final = 128
KEPT_IDS: Final = 5

Kind = tuple[str, str, tuple[str, ...]]


@dataclass(slots=True)
class _Seen:
    """One kind of difference: how often, when first and last (Unix ms), the newest decisions and the actions it was about."""

    first: int
    last: int
    count: int = 0
    decisions: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_IDS))
    actions: Counter[str] = field(default_factory=Counter)


class Ledger:
    """What a shadow showed, since it was loaded. `note` is called in the shadow's thread, all else in the gateway's loop. `clock` is Unix ms."""

    def __init__(self, revision: str, metrics: Metrics, clock: Callable[[], int]) -> None:
        self._revision, self._metrics, self._clock = revision, metrics, clock
        self._lock = threading.Lock()
        self._since = clock()
        self._changes: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._seen: dict[Kind, _Seen] = {}
        self._minute, self._logged = 0, Counter[Kind]()
        self._unlogged, self._unsaid, self._dropped = 0, 0, 0
        self._entries: list[EntryDraft] = []

    def dropped(self) -> None:
        """A decision the shadow had no room for."""
        self._dropped += 1
        self._metrics.count(Counted.SHADOW_DROPPED)

    def note(self, compared: Compared, document: Mapping[str, Any]) -> None:
        """Count one comparison; queue an entry for it if it is a difference and there is room this minute."""
        question, change = compared.before.question.value, compared.change
        self._metrics.count(Counted.SHADOW_DECISIONS, question, change.value)
        with self._lock:
            self._changes[change.value] += 1
            if change is Change.UNKNOWN:
                why = compared.why if compared.why in self._unknown or len(self._unknown) < MAX_KINDS else "(other)"
                self._unknown[why] += 1
            if change in (Change.SAME, Change.UNKNOWN):
                return
            kind = self._remember((question, change.value, _bounded(compared.rules)), compared, document)
            if self._may_log(kind):
                self._entries.append(_entry(compared, document, self._revision, self._unsaid))
                self._unsaid = 0
            else:
                self._unlogged += 1
                self._unsaid += 1
                self._metrics.count(Counted.SHADOW_UNLOGGED)

    def _remember(self, kind: Kind, compared: Compared, document: Mapping[str, Any]) -> Kind:
        if kind not in self._seen and len(self._seen) >= MAX_KINDS:
            kind = (kind[0], kind[1], ("(other)",))
        now = self._clock()
        seen = self._seen.setdefault(kind, _Seen(now, now))
        seen.last, seen.count = now, seen.count + 1
        seen.decisions.append(compared.before.id)
        seen.actions[_action(document)] += 1
        return kind

    def _may_log(self, kind: Kind) -> bool:
        minute = self._clock() // MINUTE_MS
        if minute != self._minute:
            self._minute, self._logged = minute, Counter()
        if self._logged[kind] >= PER_KIND or self._logged.total() >= PER_MINUTE:
            return False
        self._logged[kind] += 1
        return True

    def take(self) -> tuple[EntryDraft, ...]:
        """The entries that wait to be logged; they are the caller's now."""
        with self._lock:
            taken, self._entries = tuple(self._entries), []
        return taken

    def lost(self, entries: int) -> None:
        """Entries that the store did not take: they are counted like those there was no room for."""
        with self._lock:
            self._unlogged += entries
            self._unsaid += entries
        for _ in range(entries):
            self._metrics.count(Counted.SHADOW_UNLOGGED)

    def document(self) -> dict[str, Any]:
        """Everything as JSON, the gravest and most frequent first."""
        with self._lock:
            order = sorted(self._seen.items(), key=lambda item: (GRAVITY[Change(item[0][1])], -item[1].count))
            return {
                "revision": self._revision,
                "since": _rfc3339(self._since),
                "compared": self._changes.total(),
                "dropped": self._dropped,
                "unlogged": self._unlogged,
                "changes": {change.value: self._changes[change.value] for change in Change},
                "unknown": [{"why": why, "count": count} for why, count in self._unknown.most_common(20)],
                "differences": [_difference(kind, seen) for kind, seen in order],
            }


@dataclass(frozen=True, slots=True)
class Companion:
    """A shadow with its ledger: what `Core.shadow` is."""

    shadow: Shadow
    ledger: Ledger

    def offer(self, question: Question, document: Mapping[str, Any], decision: Decision, told: Needs) -> None:
        """Let it decide along, or count that it was too busy. Nothing comes back."""
        if not self.shadow.offer(question, document, decision, told):
            self.ledger.dropped()


Load = Callable[[], Awaitable[PolicyEngine | None]]
"""Brings a new engine when the shadow's policy is another than before, else None. Raises PolicyLoadError, SourceUnavailable."""


def shadow_loader(path: Path | None) -> Load | None:
    """A loader of the policy at `path` (`policy.sources.named`): a bundle, or data for the library."""
    if path is None:
        return None
    source = named_source(path)

    async def load() -> PolicyEngine | None:
        fetched = await source.look()
        return None if fetched is None else await asyncio.to_thread(lambda: complete_engine(unsigned_bundle(fetched)))

    return load


@dataclass(slots=True)
class Shadowing:
    """Keeps the core's shadow as its source says. What cannot be used is told in `error`; the shadow of before goes on, if there is one."""

    core: Core
    load: Load | None
    error: str | None = None
    companion: Companion | None = None

    async def look(self) -> None:
        """Load what is new. Never raises for what the source has or is."""
        if self.load is None:
            return
        try:
            engine = await self.load()
        except (PolicyLoadError, SourceUnavailable) as error:
            if self.error != str(error):
                LOG.error("shadow policy not taken", error=str(error))
            self.error = str(error)
            return
        if engine is not None:
            await self._take(engine)

    async def _take(self, engine: PolicyEngine) -> None:
        ledger = Ledger(engine.revision, self.core.observer.metrics, self.core.clock)
        before, self.error = self.companion, None
        self.companion = Companion(Shadow(engine, ledger.note), ledger)
        self.core.shadow = self.companion
        LOG.info("shadow policy loaded", revision=engine.revision)
        if before is not None:
            await before.shadow.close()
            await self.log(before.ledger)

    async def run(self, interval: float) -> None:
        """For ever: every `interval` seconds look at the file, and log what differed."""
        while True:
            await asyncio.sleep(interval)
            await self.look()
            if self.companion is not None:
                await self.log(self.companion.ledger)

    async def log(self, ledger: Ledger) -> None:
        """Put what waits into the audit log; what the store cannot take now is counted and let go."""
        entries = ledger.take()
        if not entries:
            return
        try:
            await self.core.commit(Append(entries, self.core.clock()))
        except (Refusal, StoreError) as error:
            ledger.lost(len(entries))
            LOG.warning("shadow", error=str(error))

    async def close(self) -> None:
        """Log what waits and end the shadow."""
        self.core.shadow, companion = None, self.companion
        self.companion = None
        if companion is not None:
            await companion.shadow.close()
            await self.log(companion.ledger)

    def document(self) -> dict[str, Any]:
        """How things stand, as JSON."""
        if self.companion is None:
            return {"on": False, "error": self.error}
        fault = self.companion.shadow.fault or None
        return {"on": fault is None, "error": self.error or fault, **self.companion.ledger.document()}


def _entry(compared: Compared, document: Mapping[str, Any], revision: str, unsaid: int) -> EntryDraft:
    target = document.get("target") or {}
    body = {
        "decision": compared.before.id,
        "question": compared.before.question.value,
        "action": _action(document),
        "target": str(target.get("name", ""))[:MAX_NAME],
        "change": compared.change.value,
        "revision": compared.before.revision,
        "shadow_revision": revision,
        "outcome": _outcome(compared.before),
        "shadow_outcome": _outcome(compared.after),
        "unlogged": unsaid,
    }
    return EntryDraft(EntryKind.SHADOW_DIFFERED, None, None, body)


def _outcome(decision: Decision) -> dict[str, Any]:
    """Answer, rules and approvals, bounded: a shadow's policy may be anyone's draft."""
    outcome: dict[str, Any] = {
        "answer": answer_of(decision).value,
        "rules": list(_bounded(rules_of(decision))),
        "input_sha256": decision.input_sha256,
    }
    approvals = decision.obligations.approvals
    if approvals is not None:
        groups = {group[:MAX_NAME]: count for group, count in list(approvals.groups.items())[:MAX_RULES]}
        outcome["approvals"] = {"count": approvals.count, "groups": groups}
    return outcome


def _difference(kind: Kind, seen: _Seen) -> dict[str, Any]:
    question, change, rules = kind
    return {
        "question": question,
        "change": change,
        "rules": list(rules),
        "count": seen.count,
        "first": _rfc3339(seen.first),
        "last": _rfc3339(seen.last),
        "decisions": list(seen.decisions),
        "actions": [{"action": action, "count": count} for action, count in seen.actions.most_common(KEPT_IDS)],
    }


def _action(document: Mapping[str, Any]) -> str:
    return str((document.get("action") or {}).get("name", ""))[:MAX_NAME]


def _bounded(rules: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(rule[:MAX_NAME] for rule in rules[:MAX_RULES])


def _rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
