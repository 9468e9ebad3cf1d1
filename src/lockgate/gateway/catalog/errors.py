"""What is wrong with a catalog, line by line; it must not carry values of arguments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_SHOWN = 200


@dataclass(frozen=True, slots=True, order=True)
class CatalogError:
    """One fault at one place: file name, line and column (both from 1), dotted field (empty: the whole file), what to do."""

    file: str
    line: int
    column: int
    field: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        return f"{where}: {self.field}: {self.message}" if self.field else f"{where}: {self.message}"


class CatalogErrors(ValueError):
    """The catalog was refused as a whole; `errors` holds every fault found, sorted by file, line and column."""

    def __init__(self, errors: Iterable[CatalogError]) -> None:
        self.errors: tuple[CatalogError, ...] = tuple(sorted(set(errors)))
        shown = [str(error) for error in self.errors[:MAX_SHOWN]]
        if len(self.errors) > MAX_SHOWN:
            shown.append(f"and {len(self.errors) - MAX_SHOWN} more")
        super().__init__("\n".join(shown))
