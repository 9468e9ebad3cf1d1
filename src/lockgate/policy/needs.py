"""What loaded policy data wants to be told of the past: budgets and how far history goes. It adds nothing up and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Any, Final

from lockgate.policy.selectors import selects

DEFAULT_HISTORY_SECONDS: Final = 86_400
RULES_WITH_HISTORY: Final = frozenset({"sequence", "heal_limits"})
"""Rules of the library that look at `context.history`: listing one of them asks for it."""
_ROUNDING: Final = 60
"""Seconds that history goes back beyond what a rule needs: `since` is told to the second, and rounded up."""


class Per(StrEnum):
    """Whose use a budget adds up."""

    PRINCIPAL = "principal"
    OWNER = "owner"
    TARGET = "target"
    TENANT = "tenant"


class Counts(StrEnum):
    """What a budget counts."""

    OPERATIONS = "operations"
    CHANGES = "changes"
    DESTROYS = "destroys"
    WEIGHT = "weight"


@dataclass(frozen=True, slots=True, eq=False)
class Budget:
    """One entry of `budgets` in policy data; `targets` is the derived selector."""

    name: str
    targets: Mapping[str, Any] | None
    per: Per
    counts: Counts
    window_seconds: int
    limit: int

    @property
    def every_target(self) -> bool:
        """Whether there is nothing that it does not select."""
        return self.targets is None

    def selects(self, target: Mapping[str, Any]) -> bool:
        """Whether a target (as in policy input) is one of those meant: what policies/lockgate/selectors.rego says of the same two."""
        return selects(self.targets, target)


@dataclass(frozen=True, slots=True)
class Needs:
    """`history_seconds` is how far back history goes; None: nobody asks for it."""

    budgets: tuple[Budget, ...] = ()
    history_seconds: int | None = None

    def same_as(self, other: Needs) -> bool:
        """Whether both want to be told exactly the same. (Budgets are compared by what they are: the same one may have been read twice.)"""
        return self is other or astuple(self) == astuple(other)


NOTHING: Final = Needs()


def derive_history(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """`history` of the derived data: what was written, or the default where only a listed rule needs it; never less than a listed rule looks back."""
    listed = [entry for rule in sorted(RULES_WITH_HISTORY) for entry in data.get("rules", {}).get(rule, ())]
    if "history" not in data and not listed:
        return None
    least = max((entry.get("within_seconds", 3600) + _ROUNDING for entry in listed), default=0)
    written = data.get("history", {}).get("window_seconds", DEFAULT_HISTORY_SECONDS)
    return {"window_seconds": max(written, least)}


def repeated_name(budgets: Sequence[Mapping[str, Any]]) -> int | None:
    """The index of the first budget whose name another one has already: `context.budgets` could hold only one of them."""
    names = [budget["name"] for budget in budgets]
    return next((index for index, name in enumerate(names) if name in names[:index]), None)


def read_needs(parameters: Mapping[str, Any]) -> Needs:
    """From derived data (`lockgate.policy.parameters`). Raises KeyError, TypeError or ValueError for what is not of that form."""
    history = parameters.get("history")
    return Needs(
        tuple(
            Budget(
                budget["name"],
                budget["targets"],
                Per(budget["per"]),
                Counts(budget["counts"]),
                budget["window_seconds"],
                budget["limit"],
            )
            for budget in parameters.get("budgets", ())
        ),
        None if history is None else history["window_seconds"],
    )
