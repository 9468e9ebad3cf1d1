"""Keeps the policy in force as its source says: fetch, verify, compare, load, swap, record. Whatever fails keeps what was good, and is told.

The steps of `_take` are the whole way of a bundle from bytes to power. Fetching, verifying and compiling happen in threads: the event loop goes on deciding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import structlog

from lockgate.gateway.audit.entries import EntryDraft, EntryKind
from lockgate.gateway.core import Core
from lockgate.gateway.errors import Refusal
from lockgate.gateway.store.port import Control, ControlKind, KeepBundle, RecordedRevision, StoreError
from lockgate.policy.acceptance import Acceptance, Mark, subject
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.bundles.layout import read_bundle
from lockgate.policy.bundles.signature import FILE, Verifier
from lockgate.policy.freshness import Clocks, Freshness
from lockgate.policy.inforce import PolicyInForce
from lockgate.policy.keeping import packed
from lockgate.policy.port import PolicyEngine, PolicyLoadError
from lockgate.policy.sources.lastgood import LastGood
from lockgate.policy.sources.port import BundleSource, Fetched, SourceUnavailable
from lockgate.telemetry.metrics import Metrics
from lockgate.telemetry.names import Counted, Level

LOG = structlog.get_logger("lockgate.gateway")
MOST_BACKOFF: Final = 300.0
TAKEN: Final = "policy loaded"
NOT_TAKEN: Final = "policy not taken; what was in force stays"
"""What the log says, with the revision, or with the error whole."""


class Reason(StrEnum):
    """Why a gateway may not allow, or not have the newest policy: what anybody may know of it."""

    NO_POLICY = "no_policy"
    STALE = "stale"
    REFUSED = "bundle_refused"
    UNAVAILABLE = "source_unavailable"


@dataclass(frozen=True, slots=True)
class Trust:
    """What is believed: `verifier` None where nobody's signature is asked for (dev), `max_age` this deployment's own bound in seconds."""

    acceptance: Acceptance
    verifier: Verifier | None = None
    max_age: int | None = None


@dataclass(slots=True)
class PolicyKeeper:
    """One gateway's policy. `make` makes an engine of a bundle and may block; `pause` is seconds between looks, `jitter` gives 0 to 1.

    `error` says why the newest that the source has was not taken up, or could not be brought; None: what is in force is what the source has.
    `copy` is where the last good signed bundle is kept for a restart; `resumed`: what is in force came from there, and the source has not answered since.
    """

    in_force: PolicyInForce
    source: BundleSource
    trust: Trust
    make: Callable[[PolicyBundle], PolicyEngine]
    clocks: Clocks
    pause: float
    jitter: Callable[[], float]
    count: Callable[[Counted], None] = lambda _: None
    copy: LastGood | None = None
    resumed: bool = False
    bundle: PolicyBundle | None = None
    refused: str | None = None
    unavailable: str | None = None
    _mark: Mark | None = None
    _unrecorded: bool = False
    _failures: int = 0
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def error(self) -> str | None:
        """Why what is in force is not what the source has."""
        return "; ".join(said for said in (self.unavailable, self.refused) if said) or None

    @property
    def ready(self) -> bool:
        """Whether anything can be allowed."""
        return self.bundle is not None and self.in_force.held.stale is None

    def told(self) -> dict[str, Any]:
        """What anybody may know (`/healthz`): revision, key and sequence in force, and what kind of thing is wrong. Paths and words are for the log."""
        release = self.bundle.release if self.bundle else None
        return {
            "revision": self.in_force.revision,
            # An OPA server decides under it from its next answer on.
            "taken": self.bundle.revision if self.bundle else None,
            "key": self.bundle.key if self.bundle else None,
            "sequence": release.sequence if release else None,
            "reasons": [reason.value for reason in self.reasons()],
        }

    def reasons(self) -> tuple[Reason, ...]:
        """What is wrong now, the gravest first."""
        wrong = {
            Reason.NO_POLICY: self.bundle is None,
            Reason.STALE: self.in_force.held.stale is not None,
            Reason.REFUSED: self.refused is not None,
            Reason.UNAVAILABLE: self.unavailable is not None,
        }
        return tuple(reason for reason, holds in wrong.items() if holds)

    def measure(self, metrics: Metrics) -> None:
        """Set what is only looked at when it is asked for."""
        told, freshness = self.told(), self.in_force.held.freshness
        release = self.bundle.release if self.bundle else None
        age = freshness.age(self.clocks) if freshness else self.clocks.wall() - release.signed_at if release else 0
        metrics.level(Level.POLICY_READY, self.ready)
        metrics.level(Level.POLICY_ERROR, self.error is not None)
        metrics.level(Level.POLICY_RESUMED, self.resumed)
        metrics.level(Level.POLICY_AGE, age)
        metrics.only(Level.POLICY_INFO, 1, told["revision"], told["key"] or "", str(told["sequence"] or ""))

    async def remember(self, core: Core) -> None:
        """Read from the store what was in force before: nothing older is taken up. Raises StoreError."""
        self._mark = Mark.read(await core.store.read(RecordedRevision(ControlKind.POLICY.value)))

    async def look(self) -> None:
        """One look at the source; take up what is new. Never raises for what the source has or is."""
        async with self._looking:
            try:
                fetched = await self.source.look()
                self.unavailable = None
                if fetched is not None:
                    await self._take(fetched)
                    await self._keep(fetched)
                self._failures = 0
            except SourceUnavailable as error:
                self._fail("unavailable", str(error))
            except PolicyLoadError as error:
                self._fail("refused", str(error))

    async def begin(self) -> None:
        """The first look of a gateway that shall not come up with a file of its own that is wrong. Raises PolicyLoadError."""
        try:
            fetched = await self.source.look()
            if fetched is not None:
                await self._take(fetched)
        except SourceUnavailable as error:
            raise PolicyLoadError(self.source.name, str(error)) from None

    async def resume(self) -> None:
        """Where the first look brought nothing usable: go on with the kept copy, if it is one that could come from the source now. Never raises for it.

        It goes the whole way of a fetched bundle: signature, order, age. MUST come after `remember`: an older copy is no way back
        (tests/unit/gateway/policy/test_resuming.py).
        """
        if self.bundle is not None or self.copy is None:
            return
        async with self._looking:
            try:
                kept = await asyncio.to_thread(self.copy.read)
                if kept is None:
                    return
                refused = self.refused
                await self._take(kept)
                # What the source has is still refused, or still away.
                self.refused, self.resumed = refused, True
                LOG.warning(
                    "policy is the kept copy of the last good bundle, until its source brings one", copy=self.copy.name
                )
            except (PolicyLoadError, SourceUnavailable) as error:
                LOG.error("the kept copy of the last good bundle is not taken", error=str(error))

    async def record(self, core: Core) -> None:
        """Make what is in force the recorded revision; a real change moves the epoch. Raises Unavailable, StoreError; call it again then."""
        bundle = self.bundle
        if bundle is None or not self._unrecorded:
            return
        # Before the log says that it decides: what it decides can be made again from then on.
        kept = await asyncio.to_thread(packed, bundle)
        await core.commit(KeepBundle(bundle.revision, kept, core.clock(), core.retention.policies))
        draft = EntryDraft(EntryKind.POLICY_LOADED, None, None, loaded_entry(bundle))
        await core.commit(Control(ControlKind.POLICY, subject(bundle), (draft,), core.clock()))
        self._unrecorded = self.bundle is not bundle

    async def run(self, core: Core) -> None:
        """For ever: look, record, wait; a store that cannot answer now is asked again at the next turn."""
        while True:
            await asyncio.sleep(self.delay())
            await self.look()
            try:
                await self.record(core)
            except (Refusal, StoreError) as error:
                LOG.warning("policy not recorded yet", error=str(error))

    def delay(self) -> float:
        """Seconds until the next look: `pause`, doubled with every failure up to five minutes, and less by a random part of a fifth."""
        grown = self.pause * 2.0 ** min(self._failures, 16)
        return min(grown, max(self.pause, MOST_BACKOFF)) * (1 - 0.2 * self.jitter())

    async def _take(self, fetched: Fetched) -> None:
        """Raises PolicyLoadError; then what was in force stays."""
        # 1. Who signed it, what is in it. Nothing is read out of a bundle before its signature holds.
        bundle = await asyncio.to_thread(read_fetched, fetched, self.trust)
        # 2. Whether it may follow what was in force.
        self.trust.acceptance.check(bundle, self._mark)
        # 3. An engine that answers every question; then it decides, from the next question on.
        current = self.bundle
        if current is None or bundle.revision != current.revision:
            self.in_force.swap(await self._made(bundle), self._freshness(bundle))
        elif bundle.release != current.release:
            self.in_force.refresh(self._freshness(bundle))
        # 4. Remembered; the store learns of it by `record`.
        self._unrecorded = self._unrecorded or current is None or subject(bundle) != subject(current)
        self.bundle, self.refused = bundle, None
        if bundle.release is not None and bundle.key is not None:
            self._mark = Mark(bundle.release.sequence, bundle.revision)
        LOG.info(TAKEN, **loaded_entry(bundle))

    async def _keep(self, fetched: Fetched) -> None:
        """What was taken from the source, for a restart without it; without a signature nobody could tell what it is then."""
        self.resumed = False
        if self.copy is None or self.bundle is None or self.bundle.key is None:
            return
        try:
            await asyncio.to_thread(self.copy.write, fetched.files)
        except (OSError, ValueError) as error:  # ValueError: what no archive can hold
            self.count(Counted.POLICY_COPY_FAILED)
            LOG.error("the last good bundle is not kept for a restart", copy=self.copy.name, error=str(error))

    async def _made(self, bundle: PolicyBundle) -> PolicyEngine:
        """The engine of a bundle. Raises PolicyLoadError; SourceUnavailable where it is not the bundle's fault: then it is brought again."""
        try:
            return await asyncio.to_thread(self.make, bundle)
        except SourceUnavailable:
            self.source.forget()
            raise

    def _freshness(self, bundle: PolicyBundle) -> Freshness | None:
        return Freshness.of(bundle.release, self.trust.max_age, self.clocks)

    def _fail(self, kind: str, error: str) -> None:
        self._failures += 1
        self.count(Counted.POLICY_LOAD_FAILED)
        if getattr(self, kind) != error:
            LOG.error(NOT_TAKEN, error=error)
        setattr(self, kind, error)


def read_fetched(fetched: Fetched, trust: Trust) -> PolicyBundle:
    """What a source brought, its signature verified first. Raises PolicyLoadError."""
    key = trust.verifier.verify(fetched.files, fetched.name) if trust.verifier else None
    files = {path: content for path, content in fetched.files.items() if path != FILE}
    bundle = read_bundle(files, fetched.name, key)
    if trust.max_age is not None and bundle.release is None:
        raise PolicyLoadError(fetched.name, "says no signed_at, and policy.max_age is set", field=".manifest")
    return bundle


def loaded_entry(bundle: PolicyBundle) -> dict[str, Any]:
    """What the audit log and the log say of a bundle that came into force; `key` None: nobody's signature was asked for."""
    release = bundle.release
    said = {"sequence": release.sequence, "signed_at": release.signed_at} if release else {}
    return {"revision": bundle.revision, "key": bundle.key, **said}
