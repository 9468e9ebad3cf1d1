"""The story of one operation, told from its audit entries: to an agent without other people, thresholds or paths, to a person whole; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from lockgate.contract.decision import Question
from lockgate.gateway.audit.entries import EntryKind, StoredEntry
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.states import State

Tellers = dict[str, Callable[[dict[str, Any]], str]]
MAX_MOMENTS: Final = 100
"""At most so many entries are told: an operation has a few dozen, and what is left out is said."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened: when (Unix ms), its kind in the audit log, and a sentence. `who` is told to people only."""

    at: int
    what: str
    said: str
    who: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """An operation with its story, oldest first. For people also what exactly is awaited, and the commands that move it on.

    `words` are the rules of the policy in force now (rule → its metadata).
    """

    operation: Operation
    moments: tuple[Moment, ...]
    awaited: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    words: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def story(self) -> list[dict[str, Any]]:
        """The moments as documents."""
        return [
            {"at": moment.at, "what": moment.what, "said": moment.said} | ({"who": moment.who} if moment.who else {})
            for moment in self.moments
        ]


def for_agent(
    operation: Operation, entries: tuple[StoredEntry, ...], words: Mapping[str, Mapping[str, Any]]
) -> Explanation:
    """What the agent that asked may know of its own operation."""
    own = (entry for entry in entries if not _about_others(entry))
    moments = _bounded([moment for moment, _ in _told(_uncounted(own), _TO_AGENTS)])
    return Explanation(operation, moments, words=words)


def for_person(
    operation: Operation,
    entries: tuple[StoredEntry, ...],
    words: Mapping[str, Mapping[str, Any]],
    awaited: tuple[str, ...],
) -> Explanation:
    """Everything, with who did it."""
    told = [replace(moment, who=entry.principal) for moment, entry in _told(entries, _TO_PEOPLE)]
    return Explanation(operation, _bounded(told), awaited, commands(operation), words)


def commands(operation: Operation) -> tuple[str, ...]:
    """The commands with which a person moves it on, most likely first; none where nothing is left to do."""
    name = operation.id
    if operation.state is State.QUEUED and operation.waiting_for:
        unblock = _UNBLOCK.get(operation.waiting_for.partition(":")[0])
        return unblock(operation) if unblock else ()
    return tuple(command.format(name) for command in _MOVE_ON.get(operation.state, ()))


def _about_others(entry: StoredEntry) -> bool:
    """A decision on what another principal asked about this operation (a view, a vote) is none of the agent's business."""
    return entry.kind == EntryKind.DECISION_MADE.value and entry.body.get("question") not in _OWN_QUESTIONS


def _uncounted(entries: Iterable[StoredEntry]) -> Iterator[StoredEntry]:
    """Votes that were not enough yet, and what followed from each, are told once: their number would be the number that is needed."""
    told: set[tuple[str, ...]] = set()
    for entry in entries:
        body = entry.body
        if entry.kind == EntryKind.VOTE_CAST.value:
            same: tuple[str, ...] = (entry.kind, str(body.get("verdict")))
        elif entry.kind == EntryKind.DECISION_MADE.value and not body.get("allow"):
            same = (entry.kind, str(body.get("question")), *body.get("rules", ()))
        elif entry.kind == EntryKind.OPERATION_MOVED.value and body.get("state") == State.PENDING_APPROVAL.value:
            same = (entry.kind,)
        else:
            yield entry
            continue
        if same not in told:
            told.add(same)
            yield entry


def _told(entries: Iterable[StoredEntry], tellers: Tellers) -> Iterator[tuple[Moment, StoredEntry]]:
    for entry in entries:
        if entry.kind in tellers:
            yield Moment(entry.time, entry.kind, tellers[entry.kind](entry.body)), entry


def _bounded(told: list[Moment]) -> tuple[Moment, ...]:
    if len(told) <= MAX_MOMENTS:
        return tuple(told)
    half = MAX_MOMENTS // 2
    left_out = Moment(told[half].at, "…", f"{len(told) - 2 * half} more entries are left out here.")
    return (*told[:half], left_out, *told[-half:])


def _decision(body: dict[str, Any]) -> str:
    rules = ", ".join(body.get("rules", ()))
    answer = "allowed it" if body.get("allow") else f"said no: {rules}" if rules else "said no"
    return f"Policy was asked `{body.get('question')}` and {answer} (decision {body.get('decision')})."


def _moved(body: dict[str, Any]) -> str:
    return f"It is now {body.get('state')}."


def _manifest(body: dict[str, Any]) -> str:
    return f"The {body.get('stage')} stage ended as {body.get('outcome')}."


def _receipt(body: dict[str, Any]) -> str:
    if body.get("proven"):
        return "Everything that was made for this attempt is gone; it was looked for."
    return "Not everything that was made for this attempt was proven to be gone; people were told."


def _ended(body: dict[str, Any]) -> str:
    rules = ", ".join(body.get("rules", ()))
    return f"It ended as {body.get('state')}, effect {body.get('effect')}" + (f", by {rules}." if rules else ".")


def _cancel(body: dict[str, Any]) -> str:
    if body.get("noted"):
        return "A wish to cancel was noted; it could no longer be stopped."
    return "It was cancelled."


def _vote(body: dict[str, Any]) -> str:
    return f"A person voted {body.get('verdict')}."


def _plan(body: dict[str, Any]) -> str:
    counts = ", ".join(f"{count} to {verb}" for verb, count in body.get("summary", {}).items() if count)
    return f"The plan: {counts or 'nothing to change'}."


_OWN_QUESTIONS: Final = frozenset({Question.REQUEST.value, Question.PLAN.value, Question.APPLY.value})

_TO_AGENTS: Final[Tellers] = {
    EntryKind.OPERATION_REQUESTED.value: lambda body: f"Asked for {body.get('action')} on {body.get('target')}.",
    EntryKind.DECISION_MADE.value: _decision,
    EntryKind.OPERATION_WAITS.value: lambda body: f"It waits for {body.get('waiting_for')}.",
    EntryKind.OPERATION_LEASED.value: lambda _: "A runner took it.",
    EntryKind.START_COMMITTED.value: lambda _: "It was let start, with a permit for exactly these inputs.",
    EntryKind.START_REFUSED.value: lambda body: f"It was not let start: {', '.join(body.get('rules', ())) or 'held'}.",
    EntryKind.MANIFEST_RECEIVED.value: _manifest,
    EntryKind.PLAN_RECORDED.value: _plan,
    EntryKind.CHECK_DIFFERED.value: lambda body: f"{body.get('why', 'The plan differs.')} Nothing was applied.",
    EntryKind.GRANT_REFUSED.value: lambda _: "Its runner or job refused to act on the grant.",
    EntryKind.LEASE_LOST.value: lambda _: "Its runner was lost or gave it back.",
    EntryKind.VOTE_CAST.value: _vote,
    EntryKind.CANCEL_REQUESTED.value: _cancel,
    EntryKind.OPERATION_MOVED.value: _moved,
    EntryKind.OPERATION_ENDED.value: _ended,
    EntryKind.OPERATION_RESOLVED.value: lambda body: f"A person looked and found: {body.get('outcome')}.",
    EntryKind.RECEIPT_RECEIVED.value: _receipt,
}
"""Nothing here may name another principal, a count of votes, a lock's holder or an input path."""

_TO_PEOPLE: Final[Tellers] = {
    **_TO_AGENTS,
    EntryKind.OPERATION_LEASED.value: lambda body: (
        f"Runner {body.get('runner')} took it: attempt {body.get('attempt')}."
    ),
    EntryKind.GRANT_REFUSED.value: lambda body: (
        f"Its runner or job refused to act on the grant: {body.get('reason', '')}"
    ),
    EntryKind.LEASE_LOST.value: lambda body: f"Attempt {body.get('attempt')} was lost or given back.",
    EntryKind.CREDENTIAL_INTENDED.value: lambda body: f"A credential of scope {body.get('scope')} was asked for.",
    EntryKind.CREDENTIAL_ISSUED.value: lambda body: f"A credential of scope {body.get('scope')} was issued.",
    EntryKind.CREDENTIAL_REVOKED.value: lambda body: f"A credential of scope {body.get('scope')} was revoked.",
    EntryKind.VOTE_REFUSED.value: lambda body: f"A vote was refused: {', '.join(body.get('rules', ()))}.",
    EntryKind.LOCK_QUARANTINED.value: lambda body: f"The lock {body.get('lock')} was quarantined.",
    EntryKind.PLAN_VIEWED.value: lambda _: "The plan was read.",
    EntryKind.ALARM.value: lambda body: f"Alarm: {body.get('what')}.",
}

_MOVE_ON: Final = {
    State.LEASED: ("lockgate operation watch {}",),
    State.RUNNING: ("lockgate operation watch {}",),
    State.QUEUED: ("lockgate operation watch {}",),
    State.PENDING_APPROVAL: ("lockgate operation approve {}", "lockgate operation reject {}"),
    State.INDETERMINATE: ("lockgate operation resolve {} --outcome OUTCOME --reason REASON",),
    State.DENIED: ("lockgate operation show {}",),
    State.FAILED: ("lockgate operation show {}",),
}

_UNBLOCK: Final[dict[str, Callable[[Operation], tuple[str, ...]]]] = {
    "freeze": lambda operation: (f"lockgate unfreeze target:{operation.target} --reason REASON",),
    "lock": lambda operation: (
        "lockgate target list",
        f"lockgate target unlock {operation.target} --reason REASON",
    ),
    "runner": lambda _: ("lockgate doctor", "lockgate runner"),
    "capacity": lambda _: ("lockgate operation list --state running",),
}
