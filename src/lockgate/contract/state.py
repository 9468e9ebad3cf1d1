"""What identifies one version of a target's state: its lineage and serial; it must not hold anything of what the state says."""

from __future__ import annotations

from dataclasses import dataclass

from lockgate.contract.shapes import check_mark


@dataclass(frozen=True, slots=True)
class StateMark:
    """Of a Terraform-format state: `lineage` names its life from the first apply on, `serial` counts its versions (0 and up)."""

    lineage: str
    serial: int

    def __post_init__(self) -> None:
        check_mark(self.lineage, self.serial)

    def follows(self, earlier: StateMark | None) -> bool:
        """Whether this may be a later (or the same) version of `earlier`: the same lineage, and the serial has not gone back."""
        return earlier is None or (self.lineage == earlier.lineage and self.serial >= earlier.serial)
