"""An exception of the policy data that a decision made use of, for whoever reads the decision; it decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, order=True)
class UsedException:
    """Without the exception `name`, `rule` would have said no. `until` is the moment (RFC 3339, UTC) from which on it is none."""

    rule: str
    name: str
    until: str

    def to_document(self) -> dict[str, Any]:
        return {"rule": self.rule, "name": self.name, "until": self.until}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError if the document is none."""
        return cls(document["rule"], document["name"], document["until"])
