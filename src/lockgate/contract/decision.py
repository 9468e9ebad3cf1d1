"""What policy is asked and what it answers; decides nothing itself and knows no engine (ARCHITECTURE §2, §7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from lockgate.contract.excepted import UsedException
from lockgate.contract.reading import Reading


class Question(StrEnum):
    """The ten questions policy is asked (ARCHITECTURE §2)."""

    LIST = "list"
    REQUEST = "request"
    PLAN = "plan"
    APPLY = "apply"
    HEAL = "heal"
    CANCEL = "cancel"
    APPROVE = "approve"
    VIEW = "view"
    RESOLVE = "resolve"
    ADMIN = "admin"


SANDBOX_ORDER: Final = ("process", "bubblewrap", "namespace", "gvisor", "kata", "microvm")
"""Sandbox classes from the weakest to the strictest; an obligation names the least that will do."""

CREDENTIAL_SCOPE_ORDER: Final = ("write", "read", "none")
"""Credential scopes from the widest to the strictest; an obligation names the most that may be given."""


class UnknownObligationError(ValueError):
    """Policy demanded something this version does not know.

    An obligation nobody can meet must not be dropped: deny, and correct the policy or upgrade Lockgate.
    """


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that says no. `details` are the rule's own facts; a true `waitable` means that time may cure it."""

    rule: str
    title: str
    message: str
    fix: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "title": self.title,
            "message": self.message,
            "fix": self.fix,
            "details": dict(self.details),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            rule=document["rule"],
            title=document["title"],
            message=document["message"],
            fix=document["fix"],
            details=dict(document["details"]),
        )

    @property
    def waitable(self) -> bool:
        """True if the operation may wait for this (a closed window, a freeze, missing votes) instead of being denied."""
        return self.details.get("waitable") is True


@dataclass(frozen=True, slots=True)
class ApprovalObligation:
    """Humans who must agree first: at least `count` distinct voters, and of each of `groups` as many as it says.

    One voter counts for every group that voter is in, and once in `count`, which is never less than any group's number.
    `expires_in_seconds` is how long one vote counts.
    """

    count: int
    groups: Mapping[str, int]
    expires_in_seconds: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("approvals.count must be at least 1: an obligation of no votes is no obligation")
        if self.expires_in_seconds < 1:
            raise ValueError("approvals.expires_in must be at least 1 second")
        for group, needed in self.groups.items():
            if needed < 1:
                raise ValueError(f"approvals.groups.{group} must be at least 1: leave out a group of no votes")
        object.__setattr__(self, "groups", dict(sorted(self.groups.items())))
        object.__setattr__(self, "count", max(self.count, *self.groups.values(), 1))

    def merge(self, other: ApprovalObligation) -> ApprovalObligation:
        """Both at once: voters satisfy the merge exactly if they satisfy each."""
        groups = {**self.groups, **other.groups}
        return ApprovalObligation(
            count=max(self.count, other.count),
            groups={name: max(self.groups.get(name, 0), other.groups.get(name, 0)) for name in groups},
            expires_in_seconds=min(self.expires_in_seconds, other.expires_in_seconds),
        )

    def satisfied_by(self, voters: Mapping[str, Collection[str]]) -> bool:
        """Whether these voters (id → groups), each already found entitled and unexpired, are enough."""
        if len(voters) < self.count:
            return False
        return all(sum(name in groups for groups in voters.values()) >= needed for name, needed in self.groups.items())

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Reads `groups` as name → votes, or as a list of names with `count` votes each. Raises ValueError or KeyError."""
        groups = document["groups"]
        if not isinstance(groups, Mapping):
            groups = dict.fromkeys(groups, document["count"])
        return cls(document["count"], groups, document["expires_in"])

    def to_document(self) -> dict[str, Any]:
        return {"count": self.count, "groups": dict(self.groups), "expires_in": self.expires_in_seconds}


@dataclass(frozen=True, slots=True)
class Obligations:
    """What must hold if the answer is yes. None: no demand. `max_seconds` bounds one phase's run time."""

    approvals: ApprovalObligation | None = None
    sandbox: str | None = None
    max_seconds: int | None = None
    credential_scope: str | None = None

    def __post_init__(self) -> None:
        _known("sandbox", self.sandbox, SANDBOX_ORDER)
        _known("credential_scope", self.credential_scope, CREDENTIAL_SCOPE_ORDER)
        if self.max_seconds is not None and self.max_seconds < 1:
            raise ValueError("max_seconds must be at least 1 second")

    def merge(self, other: Obligations) -> Obligations:
        """Both demands at once: the strictest of each. Commutative, associative, idempotent; `Obligations()` is neutral."""
        mine, theirs = self.approvals, other.approvals
        limits = [seconds for seconds in (self.max_seconds, other.max_seconds) if seconds is not None]
        return Obligations(
            approvals=mine.merge(theirs) if mine and theirs else mine or theirs,
            sandbox=_strictest(SANDBOX_ORDER, self.sandbox, other.sandbox),
            max_seconds=min(limits, default=None),
            credential_scope=_strictest(CREDENTIAL_SCOPE_ORDER, self.credential_scope, other.credential_scope),
        )

    @classmethod
    def merged(cls, parts: Iterable[Obligations]) -> Obligations:
        total = Obligations()
        for part in parts:
            total = total.merge(part)
        return total

    def to_document(self) -> dict[str, Any]:
        """The shape of `obligations` in policy output v1; a demand that is not made is absent."""
        document: dict[str, Any] = {}
        if self.approvals is not None:
            document["approvals"] = self.approvals.to_document()
        for name in ("sandbox", "max_seconds", "credential_scope"):
            if (value := getattr(self, name)) is not None:
                document[name] = value
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Obligations:
        """Raises UnknownObligationError for a demand or value this version does not know, ValueError for a bad one."""
        unknown = sorted(set(document) - {"approvals", "sandbox", "max_seconds", "credential_scope"})
        if unknown:
            raise UnknownObligationError(f"obligations.{unknown[0]} is not known to this version")
        approvals = document.get("approvals")
        return cls(
            approvals=None if approvals is None else ApprovalObligation.from_document(approvals),
            sandbox=document.get("sandbox"),
            max_seconds=document.get("max_seconds"),
            credential_scope=document.get("credential_scope"),
        )


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer comes from: `revision` is "sha256:…" over policy and data, `input_sha256` over the bytes `evaluated`."""

    id: str
    revision: str
    engine: str
    input_sha256: str = ""
    duration_us: int = 0
    evaluated: bytes = b""


ENGINE_RULES: Final[Mapping[str, tuple[str, str, str]]] = {
    "lockgate.engine.timeout": (
        "Policy took too long",
        "The policy engine did not answer within its deadline, so the answer is no.",
        "Ask an administrator to look for a rule that loops over too much data.",
    ),
    "lockgate.engine.memory": (
        "Policy used too much memory",
        "The policy engine reached its memory limit, so the answer is no.",
        "Ask an administrator to look for a rule that builds very large values.",
    ),
    "lockgate.engine.trap": (
        "Policy evaluation failed",
        "The policy engine stopped with an error, so the answer is no.",
        "Ask an administrator to check the policy with `lockgate policy test`.",
    ),
    "lockgate.engine.builtin": (
        "Policy used a function that failed or is not allowed",
        "A policy rule called a function that this engine does not offer, or gave it a value it refuses.",
        "Ask an administrator to check the policy with `lockgate policy check`.",
    ),
    "lockgate.engine.undefined": (
        "Policy gave no answer",
        "The loaded policy has no decision for this question, so the answer is no.",
        "Ask an administrator to load a policy that defines a decision for every question.",
    ),
    "lockgate.engine.output": (
        "Policy gave an answer that is not understood",
        "The answer does not match policy output version 1, so the answer is no.",
        "Ask an administrator to correct the policy's decision document.",
    ),
    "lockgate.engine.obligation": (
        "Policy demanded something unknown",
        "The answer carries an obligation that this version cannot meet, so the answer is no.",
        "Ask an administrator to correct the obligation or to upgrade Lockgate.",
    ),
    "lockgate.engine.input": (
        "The question does not match its schema",
        "What was to be decided does not match policy input version 1, so it was not asked.",
        "Report this with the decision id: a caller of the policy engine built a malformed question.",
    ),
    "lockgate.engine.input_size": (
        "The question is too large",
        "What was to be decided is larger than the policy engine accepts, so the answer is no.",
        "Ask for a smaller change: fewer resources or shorter arguments.",
    ),
    "lockgate.engine.busy": (
        "Too many decisions are waiting",
        "The policy engine has no room for another question, so the answer is no.",
        "Try again later.",
    ),
    "lockgate.engine.unavailable": (
        "No policy engine",
        "There is no usable policy engine, so the answer is no.",
        "Ask an administrator to run `lockgate doctor`.",
    ),
    "lockgate.engine.revision": (
        "Another policy answered",
        "The policy engine answered under a policy that this gateway has not verified, so the answer is no.",
        "Try again in a moment; if it stays so, ask an administrator whether OPA and gateway take the same bundle.",
    ),
    "lockgate.engine.time_zones": (
        "No time zone data",
        "Policy needs a time zone that this machine's zone database does not have, so the answer is no.",
        "Ask an administrator to install the machine's time zone data (tzdata).",
    ),
    "lockgate.engine.no_policy": (
        "No policy is loaded",
        "This gateway has not loaded any policy that it may use, so the answer is no.",
        "Ask an administrator to run `lockgate doctor`; it goes on by itself as soon as there is one.",
    ),
    "lockgate.engine.stale": (
        "Policy is too old",
        "The policy in force is older than it may be, so the answer is no.",
        "Ask an administrator to sign and serve a newer policy bundle; it goes on by itself as soon as there is one.",
    ),
    "lockgate.engine.no_allow": (
        "Nothing allows this",
        "No rule forbids this, but no rule allows it either, so the answer is no.",
        "Ask an administrator for a role that allows it.",
    ),
}
"""Rules that are the engine's own: rule → (title, message, fix)."""

ENGINE_FAULTS: Final = frozenset(ENGINE_RULES) - {"lockgate.engine.no_allow", "lockgate.engine.input_size"}
"""Those that say that something is broken rather than that someone asked too much: an alarm."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer. Deny overrides: an allow that carries a violation cannot be made (invariant 4)."""

    id: str
    question: Question
    allow: bool
    violations: tuple[Violation, ...]
    obligations: Obligations
    revision: str
    engine: str
    input_sha256: str
    duration_us: int
    readings: tuple[Reading, ...] = ()
    """What brought rules said, those that passed too, and rules of the library that ask for approval; shown to whoever approves."""
    exceptions: tuple[UsedException, ...] = ()
    evaluated: bytes = field(default=b"", repr=False, compare=False)
    """What was evaluated, for the record of it; empty where nothing was. It is no part of the answer, nor of its document."""

    def __post_init__(self) -> None:
        if self.allow is not True and self.allow is not False:
            raise ValueError("allow must be a boolean")
        if self.allow == bool(self.violations):
            raise ValueError("a decision allows without a violation, or denies and names at least one")

    @property
    def waitable(self) -> bool:
        """True if this denies for nothing but what time may cure: the operation may wait instead."""
        return not self.allow and all(violation.waitable for violation in self.violations)

    @classmethod
    def of(
        cls,
        question: Question,
        violations: Iterable[Violation],
        obligations: Obligations,
        provenance: Provenance,
        readings: Iterable[Reading] = (),
        exceptions: Iterable[UsedException] = (),
    ) -> Self:
        """Allow if nothing is violated, else deny."""
        found = tuple(violations)
        return cls(
            id=provenance.id,
            question=question,
            allow=not found,
            violations=found,
            obligations=obligations,
            revision=provenance.revision,
            engine=provenance.engine,
            input_sha256=provenance.input_sha256,
            duration_us=provenance.duration_us,
            readings=tuple(readings),
            exceptions=tuple(exceptions),
            evaluated=provenance.evaluated,
        )

    @classmethod
    def denied(
        cls, question: Question, rule: str, provenance: Provenance, details: Mapping[str, Any] | None = None
    ) -> Self:
        """A denial by the engine itself; `rule` is a key of ENGINE_RULES (another is worded as "unavailable")."""
        title, message, fix = ENGINE_RULES.get(rule, ENGINE_RULES["lockgate.engine.unavailable"])
        return cls.of(question, (Violation(rule, title, message, fix, dict(details or {})),), Obligations(), provenance)

    def to_document(self) -> dict[str, Any]:
        """`readings` and `exceptions` are there only where there are any: most decisions have none."""
        document = {
            "version": 1,
            "id": self.id,
            "question": self.question.value,
            "allow": self.allow,
            "violations": [violation.to_document() for violation in self.violations],
            "obligations": self.obligations.to_document(),
            "revision": self.revision,
            "engine": self.engine,
            "input_sha256": self.input_sha256,
            "duration_us": self.duration_us,
        }
        if self.readings:
            document["readings"] = [reading.to_document() for reading in self.readings]
        if self.exceptions:
            document["exceptions"] = [exception.to_document() for exception in self.exceptions]
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Raises ValueError or KeyError if the document is no decision of version 1."""
        if document["version"] != 1:
            raise ValueError(f"decision.version {document['version']!r} is not supported; this reads version 1")
        return cls(
            id=document["id"],
            question=Question(document["question"]),
            allow=document["allow"],
            violations=tuple(Violation.from_document(item) for item in document["violations"]),
            obligations=Obligations.from_document(document["obligations"]),
            revision=document["revision"],
            engine=document["engine"],
            input_sha256=document["input_sha256"],
            duration_us=document["duration_us"],
            readings=tuple(Reading.from_document(item) for item in document.get("readings", ())),
            exceptions=tuple(UsedException.from_document(item) for item in document.get("exceptions", ())),
        )


def _known(name: str, value: str | None, order: tuple[str, ...]) -> None:
    if value is not None and value not in order:
        raise UnknownObligationError(f"obligations.{name} {value!r} is not known; known are {', '.join(order)}")


def _strictest(order: tuple[str, ...], one: str | None, other: str | None) -> str | None:
    named = [value for value in (one, other) if value is not None]
    return max(named, key=order.index, default=None)
