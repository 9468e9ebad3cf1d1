"""What an audit verification found; it must not decide what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """Each way in which a log can be wrong."""

    CHANGED = "changed"
    GAP = "gap"
    REORDERED = "reordered"
    CUT = "cut"
    REWRITTEN = "rewritten"
    SIGNATURE = "signature"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; `seq` is the entry it is about (for a rewrite: the first that may differ), None when it is about no single entry."""

    kind: FaultKind
    seq: int | None
    message: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """`proven_size` entries are known to be complete, since a runner or the verifier witnessed them; `fault_count` also counts faults left out."""

    size: int
    root: bytes
    checkpoints: int
    witnesses: int
    proven_size: int
    faults: tuple[Fault, ...]
    fault_count: int

    @property
    def ok(self) -> bool:
        """Nothing wrong was found."""
        return self.fault_count == 0

    @property
    def proven(self) -> bool:
        """Nothing wrong was found, and a witnessed checkpoint shows that nothing is missing up to `proven_size`."""
        return self.ok and self.proven_size > 0

    @property
    def verdict(self) -> str:
        """One line for people."""
        if not self.ok:
            return f"{self.fault_count} fault{'s' if self.fault_count > 1 else ''} found in {self.size} entries"
        if not self.proven:
            return f"{self.size} entries consistent, completeness not proven"
        return f"{self.size} entries consistent, complete up to entry {self.proven_size - 1} by witnessed checkpoint"
