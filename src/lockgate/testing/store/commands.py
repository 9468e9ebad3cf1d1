# ruff: noqa: S101 - a contract suite asserts
"""What the store contract's tests have in common: short ways to commit and to make commands; they must not look behind the port."""

from __future__ import annotations

from dataclasses import replace

from lockgate.gateway.audit.entries import EntryKind
from lockgate.gateway.operations.model import Attempt, Operation, Vote
from lockgate.gateway.store import port
from lockgate.gateway.store.port import Control, ControlKind, Done, Transition
from lockgate.testing.records import NOW, admit, attempt, entry, operation


async def epoch_of(store: port.Store) -> int:
    """The epoch that stands."""
    return await store.read(port.GetEpoch())


async def done(store: port.Store, command: port.Command) -> Done:
    """Commit what must succeed."""
    outcome = await store.commit(command)
    assert isinstance(outcome, Done), outcome
    return outcome


async def admitted(store: port.Store, name: str, *, scope: str | None = None, **fields: object) -> Operation:
    """A recorded operation."""
    made = operation(name, **fields)
    await done(store, admit(made, scope=scope, epoch=await epoch_of(store)))
    return made


async def leased_attempt(store: port.Store, of: str, name: str, **fields: object) -> Attempt:
    """A recorded operation's attempt, just leased."""
    await admitted(store, of)
    made = attempt(name, of, **fields)  # type: ignore[arg-type]
    await done(store, changes(attempts=(port.AttemptChange(made, None),)))
    return made


def moved(made: Operation, **fields: object) -> Operation:
    """The operation's next version."""
    return replace(made, version=made.version + 1, **fields)  # type: ignore[arg-type]


def transition(after: Operation) -> Transition:
    """The command that puts `after` in the place of its predecessor."""
    return Transition(NOW, (entry(after.id, EntryKind.OPERATION_MOVED),), after, after.version - 1)


def changes(
    *,
    attempts: tuple[port.AttemptChange, ...] = (),
    locks: tuple[port.LockChange, ...] = (),
    votes: tuple[Vote, ...] = (),
    envelopes: tuple[port.EnvelopeRecord, ...] = (),
    plans: tuple[port.PlanBytes, ...] = (),
) -> Transition:
    """A transition of everything but the operation."""
    made = Transition(NOW, (entry(None, EntryKind.OPERATION_MOVED),), attempts=attempts, locks=locks, votes=votes)
    return replace(made, envelopes=envelopes, plans=plans)


def control(kind: ControlKind, subject: str) -> Control:
    """A control command with an entry."""
    return Control(kind, subject, (entry(None, EntryKind.FREEZE_SET, subject=subject),), NOW)


def trusting(tokens: tuple[tuple[str, str, int], ...], *scopes: str) -> Transition:
    """A transition that holds only while these are trusted."""
    return replace(changes(), trusted=port.StillTrusted(tokens, scopes))
