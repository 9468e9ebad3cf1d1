"""What one check of `doctor` found; it must not hold a secret."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`level`: ok, note (good to know), warning (works, less well or less safe), fault (does not work)."""

    level: str
    name: str
    message: str
    fix: str = ""

    def document(self) -> dict[str, str]:
        """The form under --json."""
        return {"level": self.level, "name": self.name, "message": self.message, "fix": self.fix}
