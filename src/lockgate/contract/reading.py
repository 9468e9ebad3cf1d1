"""What a rule said about one question, for whoever approves: one that a deployment brought, or one of the library that asks for approval; it decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

RULE_PREFIX: Final = "brought."
"""Rule ids of brought rules begin so; no rule of the library does."""

LIBRARY_PATH: Final = "data.lockgate."
"""Paths of the library's rules begin so; nobody can bring a rule there."""


class Verdict(StrEnum):
    """How a value reads. Only PASSED goes on by itself; UNDEFINED and MISTYPED deny whatever the entry's effect is."""

    PASSED = "passed"
    VIOLATED = "violated"
    UNDEFINED = "undefined"
    MISTYPED = "mistyped"


def rule_id(name: str, path: str) -> str:
    """The id of the rule at `path` in texts and violations."""
    return name if path.startswith(LIBRARY_PATH) else RULE_PREFIX + name


@dataclass(frozen=True, slots=True)
class Reading:
    """One rule's value in one decision, bounded by the policy: at most 20 denials of 1,100 characters. It is foreign text and may quote the plan.

    `value` is None where the rule is undefined or mistyped (`type` then names what it is); `count` is how many denials there were.
    """

    name: str
    path: str
    title: str
    reads: str
    effect: str
    verdict: Verdict
    value: bool | int | float | tuple[str, ...] | None = None
    limit: int | float | None = None
    count: int | None = None
    type: str | None = None

    @property
    def rule(self) -> str:
        """The id under which it denies, or would."""
        return rule_id(self.name, self.path)

    def to_document(self) -> dict[str, Any]:
        """Every field that says something."""
        document: dict[str, Any] = {
            "name": self.name,
            "path": self.path,
            "title": self.title,
            "reads": self.reads,
            "effect": self.effect,
            "verdict": self.verdict.value,
        }
        if self.value is not None:
            document["value"] = list(self.value) if isinstance(self.value, tuple) else self.value
        for name in ("limit", "count", "type"):
            if (said := getattr(self, name)) is not None:
                document[name] = said
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Raises ValueError or KeyError if the document is no reading."""
        value = document.get("value")
        return cls(
            name=document["name"],
            path=document["path"],
            title=document["title"],
            reads=document["reads"],
            effect=document["effect"],
            verdict=Verdict(document["verdict"]),
            value=tuple(value) if isinstance(value, list) else value,
            limit=document.get("limit"),
            count=document.get("count"),
            type=document.get("type"),
        )
