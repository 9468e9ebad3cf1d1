"""What every part of the gateway's core shares: store, policy, catalog, keys, clock. It must not decide or do anything itself."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lockgate.contract.decision import Decision, Question
from lockgate.contract.dsse import EnvelopeSigner
from lockgate.contract.intent import Principal
from lockgate.contract.keyset import Keyset
from lockgate.gateway.catalog.model import Catalog
from lockgate.gateway.errors import Unavailable
from lockgate.gateway.observing import Observer
from lockgate.gateway.operations.masking import Masking
from lockgate.gateway.operations.openings import Lookout
from lockgate.gateway.operations.past import Selections
from lockgate.gateway.scheduling.room import QueueRoom
from lockgate.gateway.store.port import (
    Command,
    Done,
    EpochMoved,
    Freezes,
    GetEpoch,
    Outcome,
    Overdrawn,
    Revocation,
    Revocations,
    Store,
    StoreBusy,
    StoreError,
    StoreUnknown,
)
from lockgate.policy.inforce import Held, PolicyInForce
from lockgate.policy.needs import Needs
from lockgate.policy.port import PolicyEngine


class CatalogSource(Protocol):
    """Holds the catalog in force."""

    @property
    def current(self) -> Catalog: ...


class Along(Protocol):
    """Decides along and answers nobody (gateway.shadowing)."""

    def offer(self, question: Question, document: Mapping[str, Any], decision: Decision, told: Needs) -> None:
        """Hear of a decision that was made, by a policy that wants to be told this of the past. Never waits, never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in seconds that shape an operation's life."""

    operation_deadline: int = 24 * 3600
    lease: int = 30
    permit: int = 60
    check_age: int = 30
    approval_expiry: int = 8 * 3600


@dataclass(frozen=True, slots=True)
class Caps:
    """How many operations of one tenant may be queued, and how many may be with runners, at once."""

    queued: int = 1_000
    running: int = 50


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what was decided on is kept, and the record of the decision, in days; and how many policies, to make decisions again under."""

    input_days: float = 90
    record_days: float = 400
    policies: int = 50


@dataclass(slots=True)
class Standing:
    """What a decision saw besides policy and catalog: the epoch with its revocations and freezes, read together from the store."""

    epoch: int = 0
    tokens: frozenset[str] = frozenset()
    principals: dict[str, int] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()

    def is_revoked(self, token_id: str, principal_id: str, issued_at: int) -> bool:
        """True when the token, or every token this principal got until then (Unix ms), was revoked."""
        since = self.principals.get(principal_id)
        return token_id in self.tokens or (since is not None and issued_at <= since)

    def is_frozen(self, tenant: str, target: str) -> bool:
        """True under a kill switch for everything, this tenant or this target."""
        return bool(self.frozen & {"*", f"tenant:{tenant}", f"target:{target}"})


@dataclass(slots=True)
class Core:
    """One gateway process. `clock` is Unix ms, `random` gives n random bytes; `policy` is replaced whole by a reload."""

    store: Store
    policy: PolicyEngine
    catalog: CatalogSource
    keyset: Keyset
    grant_signer: EnvelopeSigner
    log_signer: EnvelopeSigner
    clock: Callable[[], int]
    random: Callable[[int], bytes]
    dev: bool
    least_sandbox: str = "bubblewrap"
    timing: Timing = field(default_factory=Timing)
    caps: Caps = field(default_factory=Caps)
    standing: Standing = field(default_factory=Standing)
    room: QueueRoom = field(default_factory=QueueRoom)
    selected: Selections = field(default_factory=Selections)
    lookout: Lookout = field(default_factory=Lookout)
    masking: Masking = field(default_factory=lambda: Masking(os.urandom(32)))
    retention: Retention = field(default_factory=Retention)
    on_standing: Callable[[], None] = lambda: None
    observer: Observer = field(default_factory=Observer)
    shadow: Along | None = None

    @property
    def engine(self) -> PolicyEngine:
        """What decides now, as one thing: another object as soon as another policy is in force."""
        return self.policy.held if isinstance(self.policy, PolicyInForce) else self.policy

    @property
    def deciding(self) -> tuple[str, bool]:
        """The revision that decides, and whether it is too old to: what may be remembered of an answer is remembered for these."""
        engine = self.engine
        return engine.revision, isinstance(engine, Held) and engine.stale is not None

    def new_id(self, prefix: str) -> str:
        """An unguessable id: 128 random bits in base32."""
        return prefix + "_" + base64.b32encode(self.random(16)).decode().rstrip("=").lower()

    async def commit(self, command: Command) -> Outcome:
        """Commit, and keep the standing in step with the epoch. Raises Unavailable when the store cannot say that it is durable."""
        try:
            outcome = await self.store.commit(command)
        except StoreBusy:
            raise Unavailable("The store's queue is full; nothing was recorded.", retry_after=1.0) from None
        except StoreUnknown:
            raise Unavailable(
                "The store failed while committing, so whether this was recorded is unknown.",
                fix="Send the same call again with the same idempotency_key.",
                retry_after=1.0,
            ) from None
        except StoreError as error:
            raise Unavailable(f"The store cannot write now: {error}", retry_after=5.0) from None
        epoch = getattr(outcome, "epoch", self.standing.epoch)
        if isinstance(outcome, Done):
            self.observer.committed(command, moved=epoch != self.standing.epoch)
        if epoch != self.standing.epoch:
            await self.refresh()
        return outcome

    async def overtaken(self, outcome: Outcome) -> bool:
        """Whether the epoch or a budget has moved since the decision that was to be acted on: decide again, on what is now."""
        if isinstance(outcome, EpochMoved):
            await self.refresh()
        return isinstance(outcome, EpochMoved | Overdrawn)

    async def refresh(self) -> None:
        """Read epoch, revocations and freezes from the store until they are of one epoch."""
        for _ in range(8):
            epoch = await self.store.read(GetEpoch())
            revocations = await self.store.read(Revocations())
            frozen = frozenset(await self.store.read(Freezes()))
            if await self.store.read(GetEpoch()) == epoch:
                self.standing = _standing(epoch, revocations, frozen)
                # Who waits was woken by the commit, when this still was the standing of before.
                self.on_standing()
                return
        raise Unavailable("The epoch keeps moving; try again.", retry_after=1.0)

    def revoked(self, principal: Principal, recorded_at: int) -> bool:
        """Whether this principal's token is revoked, or since `recorded_at` (Unix ms) anyone who stands behind it (invariant 14)."""
        standing = self.standing
        if not standing.tokens and not standing.principals:
            return False
        return any(standing.is_revoked(principal.token_id, who, recorded_at) for who in principal.persons)


def _standing(epoch: int, revocations: tuple[Revocation, ...], frozen: frozenset[str]) -> Standing:
    return Standing(
        epoch=epoch,
        tokens=frozenset(item.subject for item in revocations if item.kind == "token"),
        principals={item.subject: item.at for item in revocations if item.kind == "principal"},
        frozen=frozen,
    )
